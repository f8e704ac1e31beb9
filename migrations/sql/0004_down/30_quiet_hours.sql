DROP FUNCTION app.snapshot_quiet_hours_v1, app.put_off_v1;
DROP TABLE quiet_hours;
