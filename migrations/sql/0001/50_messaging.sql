-- The outbox: a message and its whole life, what happened to it, and who asked not to be texted.

CREATE TABLE messages (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  recipient text NOT NULL,
  body text NOT NULL,
  class text NOT NULL CHECK (class IN ('otp', 'transactional', 'marketing')),
  priority smallint NOT NULL,             -- 0 otp, 1 transactional, 2 marketing
  encoding text NOT NULL,
  segments smallint NOT NULL CHECK (segments > 0),
  status text NOT NULL CHECK (status IN
    ('scheduled', 'queued', 'sending', 'unknown', 'sent', 'delivered', 'undelivered', 'failed', 'canceled', 'held')),
  sender_id uuid NOT NULL,
  registration_id uuid NOT NULL,
  call_id text,
  due_at timestamptz NOT NULL,
  expected_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  attempt smallint NOT NULL DEFAULT 0,    -- with lease_owner, the fence of whoever finishes it
  lease_owner uuid,
  lease_until timestamptz,
  sending_at timestamptz,                 -- committed before the request is written; without it a lost lease proves that nothing left
  looks smallint NOT NULL DEFAULT 0,      -- times Twilio was asked about an unknown one and listed nothing
  look_at timestamptz,
  resent boolean NOT NULL DEFAULT false,  -- an unknown one is sent again at most once
  twilio_sid text,
  twilio_status text,
  error_code integer,
  error_class text,
  final_segments smallint,
  sent_at timestamptz,
  delivered_at timestamptz,
  updated_at timestamptz NOT NULL,
  -- no foreign key to senders: its check would lock a row that every text of the tenant shares; senders are never deleted
  PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 80);
CREATE INDEX messages_due_idx ON messages (tenant_id, registration_id, priority, due_at, id) WHERE status IN ('queued', 'scheduled');
CREATE INDEX messages_open_idx ON messages (tenant_id, registration_id) WHERE status IN ('sending', 'unknown');
CREATE INDEX messages_recipient_idx ON messages (tenant_id, recipient, id);
CREATE INDEX messages_call_idx ON messages (tenant_id, call_id, id) WHERE call_id IS NOT NULL;
CREATE UNIQUE INDEX messages_sid_idx ON messages (tenant_id, twilio_sid) WHERE twilio_sid IS NOT NULL;

CREATE TABLE message_events (
  tenant_id uuid NOT NULL,
  message_id uuid NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT app.now(),
  status text NOT NULL,
  detail text,
  receipt text,                           -- Sid and status of a callback: a repeated one is stored once
  PRIMARY KEY (tenant_id, message_id, id),
  UNIQUE (tenant_id, message_id, receipt),
  FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE opt_outs (
  tenant_id uuid NOT NULL,
  recipient text NOT NULL,
  source text NOT NULL CHECK (source IN ('inbound', 'twilio', 'api')),
  created_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, recipient)
);

SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['messages', 'message_events', 'opt_outs']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON messages, message_events, opt_outs TO {app};
