DROP FUNCTION app.give_back_v2, app.begin_sending_v2, app.lease_v2, app.take_due_v3, app.pacing_mode_v1;
ALTER TABLE control.schedule DROP COLUMN owed_until, DROP COLUMN turns;
