DROP FUNCTION app.tenant_snapshot_v5;
