ALTER TABLE control.schedule DROP COLUMN owed_until, DROP COLUMN turns;
