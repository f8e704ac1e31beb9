-- What Twilio's answers and callbacks teach: holds with their reasons, lowered rates, lowered concurrency.
-- What is lowered rises again by the clock alone: nothing is written while it does, and a row that is over means nothing.

ALTER TABLE registration_holds
  ADD COLUMN reason text NOT NULL DEFAULT 'the brand''s day at T-Mobile is used up',
  ADD COLUMN code integer,
  ADD COLUMN action text NOT NULL DEFAULT 'hold_until_day_reset',  -- of errors.json: open_circuit and stop_sender end when the sender changes
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

-- A lowered rate, p_since after it was lowered: nothing for a minute, since callbacks lag behind, then a twentieth of what is granted for
-- each full minute. So it probes at most a twentieth above what last was good, and is back after 21 minutes at most. Never above the
-- grant, whatever was learned: a tier that changes applies at once.
CREATE FUNCTION app.rate_after_v1(p_granted integer, p_per_minute integer, p_since interval) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT least(p_granted::bigint, p_per_minute + (p_granted::bigint + 19) / 20
    * greatest(0, floor(extract(epoch FROM p_since) / 60)::bigint - 1))::integer
$$;

-- Lowered requests in flight, p_since after they were lowered: one more every five seconds. Null from 50 on, where it started: forgotten.
CREATE FUNCTION app.at_once_after_v1(p_at_once integer, p_since interval) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT nullif(least(50, p_at_once + greatest(0, floor(extract(epoch FROM p_since) / 5)::bigint)), 50)::integer
$$;

-- The rate that a registration may use now: what it was granted, or less. Runs in the tenant's scope.
CREATE FUNCTION app.rate_now_v1(p_tenant uuid, p_registration uuid, p_granted integer) RETURNS integer LANGUAGE sql STABLE AS $$
  -- a range and an order, not an equality: see app.accept_v2
  SELECT coalesce((
    SELECT app.rate_after_v1(p_granted, l.per_minute, app.now() - l.lowered_at) FROM learned_rates AS l
    WHERE l.tenant_id = p_tenant AND l.registration_id BETWEEN p_registration AND p_registration
    ORDER BY l.tenant_id, l.registration_id LIMIT 1), p_granted)
$$;

-- Requests in flight that a worker may have with an account now; null: none was learned. Runs in the tenant's scope.
CREATE FUNCTION app.at_once_v1(p_tenant uuid, p_account text) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT app.at_once_after_v1(c.at_once, app.now() - c.lowered_at) FROM learned_concurrency AS c
  WHERE c.tenant_id = p_tenant AND c.account_sid BETWEEN p_account AND p_account
  ORDER BY c.tenant_id, c.account_sid LIMIT 1
$$;

-- Hold a registration; a hold that lasts longer stays. False: it did.
CREATE FUNCTION app.hold_registration_v1(p_tenant uuid, p_registration uuid, p_until timestamptz, p_code integer, p_action text, p_reason text,
  p_strikes integer, p_now timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO registration_holds AS h (tenant_id, registration_id, held_until, learned_at, reason, code, action, strikes)
  VALUES (p_tenant, p_registration, p_until, p_now, p_reason, p_code, p_action, p_strikes)
  ON CONFLICT (tenant_id, registration_id) DO UPDATE SET held_until = excluded.held_until, learned_at = excluded.learned_at,
    reason = excluded.reason, code = excluded.code, action = excluded.action, strikes = excluded.strikes
  WHERE h.held_until < excluded.held_until;
  RETURN FOUND;
END $$;

-- What one answer or callback teaches, by the action of its code. taught: slower (the rate), fewer (requests in flight), held, or null where
-- it says nothing new. held_until: until when nothing leaves. p_seconds: how long the answer itself said to wait, or whoever asked chose.
--
-- What left before the last lesson of its kind was known teaches nothing, so that a burst of callbacks of one overload counts once, in
-- whatever order and however often they come. Slots are granted a second ahead and may be used two seconds late: these three still
-- belong to the overload before. Nobody waits here, whoever calls holds messages: what another transaction is being taught at this
-- moment about the same tenant is not taught twice, and the next text would teach it again.
CREATE FUNCTION app.teach_v1(p_tenant uuid, p_registration uuid, p_sender uuid, p_code integer, p_action text, p_left_at timestamptz,
  p_seconds double precision, OUT taught text, OUT held_until timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_left timestamptz := least(coalesce(p_left_at, v_now), v_now);
  v_grace interval := '3 seconds';
  v_before integer;
  v_account text;
  v_renewed timestamptz;
  v_span interval;
  v_until timestamptz;
  v_strikes integer := 1;
  v_reason text;
  l record;
  h record;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended(p_tenant::text, 29)) THEN
    RETURN;
  END IF;
  IF p_code = 20429 THEN
    SELECT d.account_sid INTO v_account FROM senders AS d WHERE d.tenant_id = p_tenant AND d.id = p_sender;
    SELECT c.lowered_at INTO l FROM learned_concurrency AS c
    WHERE c.tenant_id = p_tenant AND c.account_sid BETWEEN v_account AND v_account ORDER BY c.tenant_id, c.account_sid LIMIT 1;
    IF v_account IS NULL OR v_left <= l.lowered_at + v_grace THEN
      RETURN;
    END IF;
    v_before := coalesce(app.at_once_v1(p_tenant, v_account), 50);
    INSERT INTO learned_concurrency (tenant_id, account_sid, at_once, lowered_at, code)
    VALUES (p_tenant, v_account, greatest(1, v_before / 2), v_now, p_code)
    ON CONFLICT (tenant_id, account_sid) DO UPDATE SET at_once = excluded.at_once, lowered_at = excluded.lowered_at, code = excluded.code;
    taught := 'fewer';
    RETURN;
  END IF;
  IF p_action = 'slow_down' THEN
    SELECT app.rate_now_v1(p_tenant, r.id, r.segments_per_minute) INTO v_before FROM registrations AS r
    WHERE r.tenant_id = p_tenant AND r.id = p_registration;
    SELECT w.lowered_at INTO l FROM learned_rates AS w
    WHERE w.tenant_id = p_tenant AND w.registration_id BETWEEN p_registration AND p_registration ORDER BY w.tenant_id, w.registration_id LIMIT 1;
    IF coalesce(v_before, 0) = 0 OR v_left <= l.lowered_at + v_grace THEN
      RETURN;
    END IF;
    INSERT INTO learned_rates (tenant_id, registration_id, per_minute, lowered_at, code)
    VALUES (p_tenant, p_registration, greatest(1, v_before / 2), v_now, p_code)
    ON CONFLICT (tenant_id, registration_id) DO UPDATE SET per_minute = excluded.per_minute, lowered_at = excluded.lowered_at, code = excluded.code;
    taught := 'slower';
    RETURN;
  END IF;

  IF p_action = 'hold_until_day_reset' THEN
    -- the cap is the brand's, and the day is the one in which the text left: a callback that comes after its midnight holds nothing
    v_until := app.carriers_day_end_v1(v_left);
    IF v_until > v_now THEN
      v_reason := 'the brand''s day at T-Mobile is used up';
      SELECT CASE WHEN bool_or(app.hold_registration_v1(p_tenant, r.id, v_until, p_code, p_action, v_reason, 1, v_now)) THEN 'held' END INTO taught
      FROM registrations AS r WHERE r.tenant_id = p_tenant AND (r.id = p_registration OR r.brand_sid = (
        SELECT o.brand_sid FROM registrations AS o WHERE o.tenant_id = p_tenant AND o.id = p_registration));
    END IF;
  ELSIF p_action IN ('open_circuit', 'stop_sender', 'hold_1h', 'hold_24h', 'pause_sender') THEN
    SELECT g.held_until, g.learned_at, g.action, g.strikes INTO h FROM registration_holds AS g
    WHERE g.tenant_id = p_tenant AND g.registration_id BETWEEN p_registration AND p_registration ORDER BY g.tenant_id, g.registration_id LIMIT 1;
    SELECT d.updated_at INTO v_renewed FROM senders AS d WHERE d.tenant_id = p_tenant AND d.id = p_sender;
    CASE p_action
      WHEN 'open_circuit' THEN
        v_reason := format(CASE WHEN p_code IN (20005, 30002) THEN 'the Twilio account is not active (%s)'
                                ELSE 'Twilio refuses the sender''s credentials (%s)' END, p_code);
      WHEN 'stop_sender' THEN v_reason := format('Twilio does not send for this sender (%s)', p_code);
      WHEN 'pause_sender' THEN v_reason := format('the sender''s queue at Twilio is full (%s)', p_code);
      ELSE v_reason := format('the Twilio account''s message limit is used up (%s)', p_code);
    END CASE;
    IF h.action = p_action AND (h.held_until > v_now OR v_left <= h.learned_at)
      OR p_action IN ('open_circuit', 'stop_sender') AND v_renewed > v_left
    THEN
      NULL;  -- known, or said of credentials that were renewed since
    ELSE
      IF p_action IN ('open_circuit', 'stop_sender') THEN
        -- In a row: while texts wait one is tried as soon as a hold ends. What fails later than that has worked meanwhile, or nobody knows.
        IF h.action = p_action AND v_now <= h.held_until + greatest(h.held_until - h.learned_at, interval '5 minutes') THEN
          v_strikes := least(h.strikes + 1, 100);
        END IF;
        v_span := CASE p_action
          WHEN 'open_circuit' THEN least(interval '1 minute' * power(2, least(v_strikes, 10) - 1), interval '1 hour')
          ELSE least(interval '1 hour' * power(2, least(v_strikes, 10) - 1), interval '24 hours') END;
      ELSE
        v_span := CASE p_action WHEN 'hold_1h' THEN interval '1 hour' WHEN 'hold_24h' THEN interval '24 hours'
          ELSE make_interval(secs => least(greatest(coalesce(nullif(p_seconds, 0), 45), 1), 3600)) END;
      END IF;
      IF app.hold_registration_v1(p_tenant, p_registration, v_now + v_span, p_code, p_action, v_reason, v_strikes, v_now) THEN
        taught := 'held';
      END IF;
    END IF;
  ELSE
    RETURN;
  END IF;
  SELECT g.held_until INTO held_until FROM registration_holds AS g
  WHERE g.tenant_id = p_tenant AND g.registration_id = p_registration AND g.held_until > v_now;
END $$;

-- The same for whoever needs the hold alone. Runs in the tenant's scope and touches no row of the schedule: the dispatcher's next look
-- brings the hold there. Gives until when nothing leaves, null where nothing is held.
CREATE FUNCTION app.learn_v1(p_tenant uuid, p_registration uuid, p_sender uuid, p_code integer, p_action text, p_left_at timestamptz,
  p_seconds double precision) RETURNS timestamptz LANGUAGE sql AS $$
  SELECT t.held_until FROM app.teach_v1(p_tenant, p_registration, p_sender, p_code, p_action, p_left_at, p_seconds) AS t
$$;

-- A sender is declared anew: what Twilio said of its credentials, or of the sender itself, is not known of the new ones. Rows of the
-- schedule are locked before anything else: call it before a message or the sender is touched. Gives how many holds ended.
CREATE FUNCTION app.close_circuit_v1(p_tenant uuid, p_account text, p_number text, p_service text, p_campaign text) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_registrations uuid[] := ARRAY(
    SELECT d.registration_id FROM senders AS d WHERE d.tenant_id = p_tenant AND d.account_sid = p_account
      AND (d.from_number = p_number OR d.messaging_service_sid = p_service)
    UNION SELECT r.id FROM registrations AS r WHERE r.tenant_id = p_tenant AND r.campaign_sid = p_campaign);
  v_ended uuid[];
BEGIN
  PERFORM 1 FROM control.schedule AS d WHERE d.tenant_id = p_tenant AND d.registration_id = ANY (v_registrations)
  ORDER BY d.tenant_id, d.registration_id FOR UPDATE;
  PERFORM pg_advisory_xact_lock(hashtextextended(p_tenant::text, 29));  -- whoever teaches never waits, so this ends
  WITH ended AS (
    DELETE FROM registration_holds AS h WHERE h.tenant_id = p_tenant AND h.registration_id = ANY (v_registrations)
      AND h.action IN ('open_circuit', 'stop_sender') RETURNING h.registration_id
  )
  SELECT coalesce(array_agg(e.registration_id), '{}') INTO v_ended FROM ended AS e;
  UPDATE control.schedule AS d SET hold_reason = NULL, held_until = NULL
  WHERE d.tenant_id = p_tenant AND d.registration_id = ANY (v_ended) AND d.held_until IS NOT NULL;
  RETURN cardinality(v_ended);
END $$;

-- Until when each registration is held and why, and the rates that are lower than what was granted, by registration.
CREATE FUNCTION app.snapshot_learning_v2(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'day_holds', coalesce(jsonb_object_agg(h.registration_id, h.held_until) FILTER (WHERE h.registration_id IS NOT NULL), '{}'),
    'holds', coalesce(jsonb_object_agg(h.registration_id, jsonb_build_object('until', h.held_until, 'reason', h.reason, 'code', h.code))
      FILTER (WHERE h.registration_id IS NOT NULL), '{}'),
    'learned_rates', (
      SELECT coalesce(jsonb_object_agg(l.registration_id, l.now), '{}') FROM (
        SELECT w.registration_id, app.rate_now_v1(p_tenant, w.registration_id, r.segments_per_minute) AS now, r.segments_per_minute AS granted
        FROM learned_rates AS w JOIN registrations AS r ON r.tenant_id = w.tenant_id AND r.id = w.registration_id
        WHERE w.tenant_id = p_tenant) AS l WHERE l.now < l.granted))
  FROM registration_holds AS h WHERE h.tenant_id = p_tenant AND h.held_until > app.now()
$$;

GRANT EXECUTE ON FUNCTION app.rate_after_v1, app.at_once_after_v1, app.rate_now_v1, app.at_once_v1, app.hold_registration_v1, app.teach_v1,
  app.learn_v1, app.close_circuit_v1, app.snapshot_learning_v2 TO {app};
