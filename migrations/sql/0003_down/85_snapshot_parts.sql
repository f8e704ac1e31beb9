DROP FUNCTION app.snapshot_answers_v1, app.snapshot_privacy_v1;
