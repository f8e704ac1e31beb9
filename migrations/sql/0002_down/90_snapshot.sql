DROP FUNCTION app.tenant_snapshot_v2(text);
