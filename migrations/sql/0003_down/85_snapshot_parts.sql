DROP FUNCTION app.snapshot_hours_v1;
