DROP FUNCTION app.put_off_v2, app.settle_v2;
DROP INDEX messages_dead_idx;
ALTER TABLE messages DROP COLUMN expires_at, DROP COLUMN retries;
