-- What Twilio's answers teach: holds with their reasons, lowered rates, lowered concurrency.

ALTER TABLE registration_holds
  ADD COLUMN reason text NOT NULL DEFAULT 'the brand''s day at T-Mobile is used up',
  ADD COLUMN code integer,
  ADD COLUMN strikes smallint NOT NULL DEFAULT 1;  -- how often in a row: a circuit that opens again stays open longer

-- Segments per minute that a registration is held to since the carriers or Twilio said that it was too fast.
CREATE TABLE learned_rates (
  tenant_id uuid NOT NULL,
  registration_id uuid NOT NULL,
  per_minute integer NOT NULL CHECK (per_minute > 0),
  lowered_at timestamptz NOT NULL,
  code integer NOT NULL,
  PRIMARY KEY (tenant_id, registration_id)
);

-- Requests in flight that an account is held to since Twilio said that there were too many (20429).
CREATE TABLE learned_concurrency (
  tenant_id uuid NOT NULL,
  account_sid text NOT NULL,
  at_once smallint NOT NULL CHECK (at_once > 0),
  lowered_at timestamptz NOT NULL,
  code integer NOT NULL,
  PRIMARY KEY (tenant_id, account_sid)
);
SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['learned_rates', 'learned_concurrency']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON learned_rates, learned_concurrency TO {app};

-- The rate that a registration may use now: what it was granted, or less. Runs in the tenant's scope.
CREATE FUNCTION app.rate_now_v1(p_tenant uuid, p_registration uuid, p_granted integer) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT p_granted
$$;

-- Requests in flight that a worker may have with an account now; null: none was learned. Runs in the tenant's scope.
CREATE FUNCTION app.at_once_v1(p_tenant uuid, p_account text) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT NULL::integer
$$;

-- What one answer or callback of Twilio's teaches, by the action of its code (errors.json). Runs in the tenant's scope and touches no row
-- of the schedule. Gives until when nothing leaves, null where nothing is held.
CREATE FUNCTION app.learn_v1(p_tenant uuid, p_registration uuid, p_sender uuid, p_code integer, p_action text, p_left_at timestamptz,
  p_seconds double precision) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
  RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION app.rate_now_v1, app.at_once_v1, app.learn_v1 TO {app};
