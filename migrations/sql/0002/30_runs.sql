-- Runs: effects that somebody else's server has a part in. Claimed with a lease on the database's clock, renewed while the server is
-- asked, finished under a fence (owner and attempt). No transaction is open in between. A lease that ended may be taken over by
-- whoever delivers the same call again; the server is then asked with the same Idempotency-Key.

-- What became of the same thing under another id less than p_window ago: same (with its answer), wait (somebody's lease lives), doubtful
-- (an attempt that nobody finished: it may have been done), or null. Two ids of one thing meet at the lock before either claims; the
-- first one names the thing (business), those that share its answer do not, so the window counts from the first.
CREATE FUNCTION app.same_thing_v1(p_tenant uuid, p_business bytea, p_key bytea, p_window interval)
RETURNS TABLE (verdict text, answer text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  PERFORM pg_advisory_xact_lock(hashtextextended(p_tenant || encode(p_business, 'hex'), 0));
  v_now := app.now();
  RETURN QUERY
    SELECT CASE WHEN w.state = 'done' THEN 'same' WHEN w.state = 'in_flight' AND w.lease_until > v_now THEN 'wait' ELSE 'doubtful' END, w.answer
    FROM processed_webhooks AS w
    WHERE w.tenant_id = p_tenant AND w.business = p_business AND w.key <> p_key AND w.received_at > v_now - p_window
      AND (w.state IN ('done', 'in_flight') OR (w.state IN ('dead', 'failed') AND w.doubtful))
    ORDER BY w.received_at LIMIT 1;
END $$;

-- p_effect: {webhook_id, place, source, type, call_id, assistant_id, key, fingerprint, name, tool_call_id, arguments, caller, replay_of,
--   doubtful_answer}; p_business with p_window: what names the same thing under another id.
-- Outcomes: run (it is ours, under this attempt; asked_at is when it was asked first, doubtful says that an earlier attempt may have been
-- acted on) · wait (somebody's lease lives) · replay (the stored answer) · same (the answer that the same thing got under another id) ·
-- settled (nobody knows whether the same thing was done: the answer says so) · conflict (same key, something else asked) · absent (claim
-- again). An attempt that nobody finished is doubtful. A tool that is not repeatable then fails for good.
CREATE FUNCTION app.claim_run_v1(
  p_tenant uuid, p_effect jsonb, p_owner uuid, p_lease interval, p_business bytea, p_window interval, p_repeatable boolean
) RETURNS TABLE (outcome text, answer text, attempt integer, asked_at timestamptz, doubtful boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz;
  v_key bytea := decode(p_effect->>'key', 'hex');
  v_fingerprint bytea := decode(p_effect->>'fingerprint', 'hex');
  v_doubt text := p_effect->>'doubtful_answer';
  v_attempt integer;
  s record;
  p record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  SELECT w.fingerprint, w.state, w.answer INTO p FROM processed_webhooks AS w
  WHERE w.tenant_id = p_tenant AND w.key BETWEEN v_key AND v_key ORDER BY w.key LIMIT 1;  -- by the primary key, see app.accept_v2
  IF FOUND AND (p.fingerprint <> v_fingerprint OR p.state IN ('done', 'failed')) THEN
    RETURN QUERY SELECT CASE WHEN p.fingerprint <> v_fingerprint THEN 'conflict' ELSE 'replay' END,
                        CASE WHEN p.fingerprint = v_fingerprint THEN p.answer END, 0, NULL::timestamptz, false;
    RETURN;
  END IF;
  SELECT NULL::text AS verdict, NULL::text AS answer INTO s;
  IF p_business IS NOT NULL THEN
    SELECT t.verdict, t.answer INTO s FROM app.same_thing_v1(p_tenant, p_business, v_key, p_window) AS t;
    IF s.verdict = 'wait' THEN
      RETURN QUERY SELECT 'wait'::text, NULL::text, 0, NULL::timestamptz, false;
      RETURN;
    END IF;
  END IF;

  v_now := app.now();
  INSERT INTO processed_webhooks
    (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, tool_call_id, name, arguments, caller,
     replay_of, answer, business, owner, attempt, lease_until, received_at)
  SELECT p_tenant, v_key, v_fingerprint, x.webhook_id, x.place, x.source, x.type, CASE s.verdict WHEN 'doubtful' THEN 'failed' ELSE 'in_flight' END,
         x.call_id, x.assistant_id, x.tool_call_id, x.name, x.arguments, x.caller, x.replay_of,
         CASE s.verdict WHEN 'doubtful' THEN v_doubt ELSE '{}' END, CASE WHEN s.verdict IS NULL THEN p_business END, p_owner, 1, v_now + p_lease, v_now
  FROM jsonb_to_record(p_effect) AS x(
    webhook_id uuid, place smallint, source text, type text, call_id text, assistant_id text, tool_call_id text, name text, arguments text,
    caller text, replay_of uuid)
  ON CONFLICT (tenant_id, key) DO NOTHING;
  IF FOUND THEN
    RETURN QUERY SELECT CASE s.verdict WHEN 'same' THEN 'same' WHEN 'doubtful' THEN 'settled' ELSE 'run' END,
                        CASE s.verdict WHEN 'doubtful' THEN v_doubt ELSE s.answer END, 1, v_now, false;
    RETURN;
  END IF;

  SELECT w.fingerprint, w.state, w.answer, w.lease_until, w.owner, w.attempt, w.received_at, w.doubtful INTO p
  FROM processed_webhooks AS w WHERE w.tenant_id = p_tenant AND w.key BETWEEN v_key AND v_key ORDER BY w.key LIMIT 1;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'absent'::text, NULL::text, 0, NULL::timestamptz, false;
  ELSIF p.fingerprint <> v_fingerprint THEN
    RETURN QUERY SELECT 'conflict'::text, NULL::text, 0, NULL::timestamptz, false;
  ELSIF p.state IN ('done', 'failed') THEN
    RETURN QUERY SELECT 'replay'::text, p.answer, 0, NULL::timestamptz, false;
  ELSIF p.state = 'in_flight' AND p.owner = p_owner AND p.lease_until > v_now THEN
    -- claimed by us a moment ago, and the answer was lost
    RETURN QUERY SELECT CASE s.verdict WHEN 'same' THEN 'same' ELSE 'run' END, s.answer, p.attempt, p.received_at, p.attempt > 1;
  ELSIF p.state = 'in_flight' AND p.lease_until > v_now THEN
    RETURN QUERY SELECT 'wait'::text, NULL::text, 0, NULL::timestamptz, false;
  ELSIF s.verdict IS DISTINCT FROM 'same'
    AND (((p.state = 'in_flight' OR p.doubtful) AND NOT p_repeatable) OR (p.state = 'dead' AND s.verdict = 'doubtful')) THEN
    UPDATE processed_webhooks AS w SET state = 'failed', answer = v_doubt, doubtful = true, owner = NULL, lease_until = NULL
    WHERE w.tenant_id = p_tenant AND w.key = v_key AND (w.state = 'dead' OR (w.state = 'in_flight' AND w.lease_until <= v_now));
    RETURN QUERY SELECT CASE WHEN FOUND THEN 'replay' ELSE 'absent' END, v_doubt, 0, NULL::timestamptz, false;
  ELSE
    UPDATE processed_webhooks AS w
    SET state = 'in_flight', owner = p_owner, attempt = w.attempt + 1, lease_until = v_now + p_lease, reason = NULL
    WHERE w.tenant_id = p_tenant AND w.key = v_key AND (w.state = 'dead' OR (w.state = 'in_flight' AND w.lease_until <= v_now))
    RETURNING w.attempt INTO v_attempt;
    -- where somebody was quicker: look again
    RETURN QUERY SELECT CASE WHEN v_attempt IS NULL THEN 'absent' WHEN s.verdict = 'same' THEN 'same' ELSE 'run' END, s.answer,
                        coalesce(v_attempt, 0), p.received_at, p.state = 'in_flight' OR p.doubtful;
  END IF;
END $$;

-- Keep a run; false: the lease was lost, and whoever has it now will finish.
CREATE FUNCTION app.renew_run_v1(p_tenant uuid, p_key bytea, p_owner uuid, p_attempt integer, p_lease interval) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  -- locked first, so that the lease counts from when we have the row, not from when we began to wait for it
  PERFORM FROM processed_webhooks
  WHERE tenant_id = p_tenant AND key = p_key AND state = 'in_flight' AND owner = p_owner AND attempt = p_attempt FOR UPDATE;
  UPDATE processed_webhooks SET lease_until = app.now() + p_lease
  WHERE tenant_id = p_tenant AND key = p_key AND state = 'in_flight' AND owner = p_owner AND attempt = p_attempt;
  RETURN FOUND;
END $$;

-- Finish a run with its answer and its line of the ledger, in one transaction: done, failed (for good) or dead (may be run again,
-- with a reason; doubtful where it may have been acted on). False: the lease was lost; nothing is overwritten. Safe to repeat: the fence
-- stays on the row, so that a second try knows its own end again.
CREATE FUNCTION app.finish_run_v1(
  p_tenant uuid, p_key bytea, p_owner uuid, p_attempt integer, p_state text, p_answer text, p_meter text, p_reason text,
  p_doubtful boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  UPDATE processed_webhooks SET state = p_state, answer = p_answer, reason = p_reason, doubtful = p_doubtful, lease_until = NULL
  WHERE tenant_id = p_tenant AND key = p_key AND state = 'in_flight' AND owner = p_owner AND attempt = p_attempt;
  IF NOT FOUND THEN
    RETURN EXISTS (SELECT 1 FROM processed_webhooks AS w
                   WHERE w.tenant_id = p_tenant AND w.key = p_key AND w.state = p_state AND w.owner = p_owner AND w.attempt = p_attempt);
  END IF;
  IF p_meter IS NOT NULL AND p_state = 'done' THEN
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
    VALUES (p_tenant, p_meter, 'effect:' || encode(p_key, 'hex'), 1, app.now())
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  END IF;
  RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION app.same_thing_v1, app.claim_run_v1, app.renew_run_v1, app.finish_run_v1 TO {app};
