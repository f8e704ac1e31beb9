-- What a tenant owns: assistants with their credentials, registrations and senders.

CREATE TABLE assistants (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  vapi_assistant_id text NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, vapi_assistant_id)
);

CREATE TABLE webhook_credentials (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  assistant_id uuid,                      -- none: it serves the whole tenant
  mode text NOT NULL CHECK (mode IN ('bearer')),
  secret_hash bytea NOT NULL,             -- compared on every delivery
  secret_sealed text NOT NULL,            -- read when Vapi is configured
  created_at timestamptz NOT NULL DEFAULT app.now(),
  valid_until timestamptz NOT NULL DEFAULT 'infinity',
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, assistant_id) REFERENCES assistants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_credentials_assistant_idx ON webhook_credentials (tenant_id, assistant_id);

CREATE TABLE registrations (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  tier text NOT NULL,
  tier_source text NOT NULL CHECK (tier_source IN ('tenant', 'operator', 'capped')),
  segments_per_minute integer NOT NULL CHECK (segments_per_minute >= 0),
  campaign_sid text,
  brand_sid text,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, campaign_sid)
);

CREATE TABLE senders (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  registration_id uuid NOT NULL,
  account_sid text NOT NULL,
  auth_token_sealed text,                 -- signs callbacks; without it the MAC in their URL alone authenticates
  previous_auth_token_sealed text,        -- Twilio signs with the old one until the new one is promoted
  previous_token_until timestamptz,
  api_key_sid text,
  api_key_secret_sealed text,
  from_number text,
  messaging_service_sid text,
  is_default boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT app.now(),
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, registration_id) REFERENCES registrations (tenant_id, id),
  CHECK ((from_number IS NULL) <> (messaging_service_sid IS NULL)),
  CHECK (auth_token_sealed IS NOT NULL OR (api_key_sid IS NOT NULL AND api_key_secret_sealed IS NOT NULL))
);
CREATE UNIQUE INDEX senders_default_idx ON senders (tenant_id) WHERE is_default;
CREATE INDEX senders_registration_idx ON senders (tenant_id, registration_id);

SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['assistants', 'webhook_credentials', 'registrations', 'senders']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON assistants, webhook_credentials, registrations, senders TO {app};
