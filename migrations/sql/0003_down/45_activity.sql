DROP FUNCTION app.note_activity_v1;
DROP TABLE call_activity;
