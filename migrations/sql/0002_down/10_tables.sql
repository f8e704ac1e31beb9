-- What 0001 does not know becomes what it is nearest to: an unfinished effect is a failed one.
DROP TABLE http_tools, vapi_accounts, control.call_watch;
ALTER TABLE control.tenants DROP COLUMN keys_hours, DROP COLUMN bodies_days, DROP COLUMN capture;
DROP INDEX calls_unreported_idx;
ALTER TABLE calls DROP COLUMN reported_at, DROP COLUMN reported_by, DROP COLUMN looks, DROP COLUMN look_at;
DROP INDEX processed_webhooks_business_idx, processed_webhooks_open_idx;
UPDATE processed_webhooks SET state = 'failed' WHERE state IN ('in_flight', 'dead');
ALTER TABLE processed_webhooks
  DROP CONSTRAINT processed_webhooks_state_check,
  ADD CONSTRAINT processed_webhooks_state_check CHECK (state IN ('done', 'failed')),
  DROP COLUMN caller, DROP COLUMN owner, DROP COLUMN attempt, DROP COLUMN lease_until, DROP COLUMN doubtful, DROP COLUMN business, DROP COLUMN reason,
  DROP COLUMN replay_of;
