-- The recipe's only table: one row per webhook it has seen, counted up by every duplicate.
CREATE TABLE processed_webhooks (
  request_id  text PRIMARY KEY,
  event_type  text NOT NULL,
  call_id     text,
  tool_name   text,
  arguments   jsonb,
  deliveries  integer NOT NULL DEFAULT 1,
  received_at timestamptz NOT NULL DEFAULT now(),
  last_seen   timestamptz NOT NULL DEFAULT now()
);
