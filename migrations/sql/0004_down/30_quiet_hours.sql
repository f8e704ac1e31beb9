DROP FUNCTION app.snapshot_quiet_hours_v1;
