DROP FUNCTION app.snapshot_hours_v1;
DROP TABLE opening_hours;
