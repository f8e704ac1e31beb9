ALTER TABLE messages DROP COLUMN expires_at, DROP COLUMN retries;
