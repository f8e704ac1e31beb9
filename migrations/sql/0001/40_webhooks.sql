-- What a webhook meant: one row per idempotency key, and the calls that webhooks speak of.

CREATE TABLE processed_webhooks (
  tenant_id uuid NOT NULL,
  key bytea NOT NULL,                     -- 16 bytes: hash of the effect's kind and stable ids
  fingerprint bytea NOT NULL,             -- 16 bytes: hash of what was asked
  webhook_id uuid NOT NULL,               -- one POST may hold several effects
  place smallint NOT NULL,
  source text NOT NULL CHECK (source IN ('vapi', 'api')),
  type text NOT NULL,
  state text NOT NULL CHECK (state IN ('done', 'failed')),
  call_id text,
  assistant_id text,
  tool_call_id text,
  name text,
  arguments text,
  answer text NOT NULL,
  message_id uuid,
  duplicates integer NOT NULL DEFAULT 0,
  received_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, key)
);
CREATE INDEX processed_webhooks_webhook_idx ON processed_webhooks (tenant_id, webhook_id, place);
CREATE INDEX processed_webhooks_call_idx ON processed_webhooks (tenant_id, call_id, webhook_id) WHERE call_id IS NOT NULL;

CREATE TABLE calls (
  tenant_id uuid NOT NULL,
  call_id text NOT NULL,
  assistant_id text,
  state text NOT NULL,
  state_rank smallint NOT NULL,           -- states arrive in any order; only a higher one is taken
  started_at timestamptz,
  ended_at timestamptz,
  seconds numeric,
  estimated_seconds numeric,              -- from the messages' times, marked as an estimate, never billed
  cost_usd numeric,
  ended_reason text,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, call_id)
);
CREATE INDEX calls_created_idx ON calls (tenant_id, created_at, call_id);

SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['processed_webhooks', 'calls']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON processed_webhooks, calls TO {app};
