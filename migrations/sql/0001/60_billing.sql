-- The ledger, which invoices are computed from, and what a tenant subscribed to.

CREATE TABLE usage_events (
  tenant_id uuid NOT NULL,
  meter text NOT NULL,
  source_id text NOT NULL,                -- names the effect: a repeated delivery changes nothing, for ever
  quantity numeric NOT NULL,
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, meter, source_id)
);
CREATE INDEX usage_events_occurred_idx ON usage_events (tenant_id, occurred_at, meter) INCLUDE (quantity);

CREATE TABLE subscriptions (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  plan_id uuid NOT NULL REFERENCES control.plans (id),
  timezone text NOT NULL,                 -- frozen: a move of the tenant does not shift a period
  anchor_day smallint NOT NULL CHECK (anchor_day BETWEEN 1 AND 31),
  started_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX subscriptions_current_idx ON subscriptions (tenant_id) WHERE ended_at IS NULL;

SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['usage_events', 'subscriptions']::regclass[]) AS t;
GRANT SELECT, INSERT ON usage_events TO {app};
GRANT SELECT, INSERT, UPDATE ON subscriptions TO {app};
