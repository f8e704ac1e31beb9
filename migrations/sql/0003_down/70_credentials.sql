-- Assistants that sign have no secret afterwards: give them a bearer secret before.
DROP FUNCTION app.snapshot_credentials_v1;
DROP TABLE signing_credentials;
ALTER TABLE webhook_credentials DROP COLUMN bearer_prefix, DROP COLUMN header;
