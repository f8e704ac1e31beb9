DROP FUNCTION app.snapshot_answers_v1, app.snapshot_hours_v1, app.snapshot_privacy_v1;
