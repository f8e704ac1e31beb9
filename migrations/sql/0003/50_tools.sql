-- What the model may call: cancelling a text, opting out, and how a tool of the tenant's own is described to the model.
ALTER TABLE http_tools ADD COLUMN parameters jsonb;  -- the JSON schema of its arguments
ALTER TABLE opt_outs
  DROP CONSTRAINT opt_outs_source_check,
  ADD CONSTRAINT opt_outs_source_check CHECK (source IN ('inbound', 'twilio', 'api', 'call'));

-- The newest text of a call to one person that waits is cancelled. Gives what happened, as p_says names it:
--   canceled, canceled_more (another one waits), again, again_more (one was cancelled a moment ago, under another id),
--   left, failed, gone (what became of the newest one, when none waits), none.
-- p_note marks the steps of this tool call: whoever does it twice finds its first time.
CREATE FUNCTION app.cancel_newest_v1(p_tenant uuid, p_call text, p_recipient text, p_waiting text[], p_note text, p_same_within double precision)
RETURNS TABLE (happened text, message_id uuid) LANGUAGE plpgsql
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_more boolean;
  v_again boolean;
  v_other boolean;  -- another tool call's
  m record;
BEGIN
  SELECT e.message_id, e.detail <> p_note AS other INTO m
  FROM messages AS t JOIN message_events AS e ON e.tenant_id = p_tenant AND e.message_id = t.id
  WHERE t.tenant_id = p_tenant AND t.call_id = p_call AND t.recipient = p_recipient AND e.status = 'canceled'
    AND (e.detail = p_note OR (e.detail LIKE 'tool call %' AND e.at > v_now - make_interval(secs => p_same_within)))
  ORDER BY other, e.id DESC LIMIT 1;
  v_again := FOUND;
  v_other := v_again AND m.other;
  IF NOT v_again THEN
    SELECT t.id AS message_id, t.registration_id, t.segments INTO m FROM messages AS t
    WHERE t.tenant_id = p_tenant AND t.call_id BETWEEN p_call AND p_call AND t.recipient = p_recipient AND t.status = ANY (p_waiting)
    ORDER BY t.call_id DESC, t.id DESC LIMIT 1 FOR UPDATE;  -- in the order of the calls' index: a tenant's texts are not walked
    IF NOT FOUND THEN
      RETURN QUERY
        SELECT CASE WHEN t.status IN ('failed', 'undelivered') THEN 'failed' WHEN t.status = 'canceled' THEN 'gone' ELSE 'left' END, t.id
        FROM messages AS t WHERE t.tenant_id = p_tenant AND t.call_id BETWEEN p_call AND p_call AND t.recipient = p_recipient
        ORDER BY t.call_id DESC, t.id DESC LIMIT 1;
      IF NOT FOUND THEN
        RETURN QUERY SELECT 'none'::text, NULL::uuid;
      END IF;
      RETURN;
    END IF;
    UPDATE messages AS t SET status = 'canceled', updated_at = v_now WHERE t.tenant_id = p_tenant AND t.id = m.message_id;
    INSERT INTO message_events (tenant_id, message_id, at, status, detail) VALUES (p_tenant, m.message_id, v_now, 'canceled', p_note);
    INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (p_tenant, m.registration_id, v_now, -m.segments);
  END IF;
  v_more := EXISTS (SELECT 1 FROM messages AS t WHERE t.tenant_id = p_tenant AND t.call_id = p_call AND t.recipient = p_recipient
                      AND t.status = ANY (p_waiting));
  RETURN QUERY SELECT CASE WHEN v_other THEN 'again' ELSE 'canceled' END || CASE WHEN v_more THEN '_more' ELSE '' END,
                      m.message_id;
END $$;

-- Somebody is texted no more; what waits for them is cancelled. Gives stopped, stopped_canceled (texts were waiting),
-- and each with _leaving when a text to them is on its way and cannot be held back.
CREATE FUNCTION app.opt_out_v1(p_tenant uuid, p_recipient text, p_waiting text[], p_note text) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
  v_now timestamptz := app.now();
  v_canceled bigint;
BEGIN
  INSERT INTO opt_outs (tenant_id, recipient, source, created_at) VALUES (p_tenant, p_recipient, 'call', v_now) ON CONFLICT DO NOTHING;
  WITH waiting AS (
    SELECT t.id FROM messages AS t WHERE t.tenant_id = p_tenant AND t.recipient = p_recipient AND t.status = ANY (p_waiting)
    ORDER BY t.id FOR UPDATE SKIP LOCKED  -- whoever holds one is about to send it, or to find the person opted out
  ), canceled AS (
    UPDATE messages AS t SET status = 'canceled', updated_at = v_now FROM waiting WHERE t.tenant_id = p_tenant AND t.id = waiting.id
    RETURNING t.id, t.registration_id, t.segments
  ), noted AS (
    INSERT INTO message_events (tenant_id, message_id, at, status, detail) SELECT p_tenant, c.id, v_now, 'canceled', p_note FROM canceled AS c
  ), told AS (
    INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
    SELECT p_tenant, c.registration_id, v_now, -c.segments FROM canceled AS c ORDER BY c.id
  )
  SELECT count(*) INTO v_canceled FROM canceled;
  RETURN 'stopped' || CASE WHEN v_canceled > 0 THEN '_canceled' ELSE '' END
    || CASE WHEN EXISTS (SELECT 1 FROM messages AS t WHERE t.tenant_id = p_tenant AND t.recipient = p_recipient
                           AND (t.status IN ('sending', 'unknown') OR t.status = ANY (p_waiting))) THEN '_leaving' ELSE '' END;
END $$;

-- A tool call that changes what is there: claims its key, acts, and stores the answer that says what happened, in one transaction.
-- p_effect: as app.accept_v2 has it, without a text, and {act, recipient, waiting, same_within, lock, says}: `says` maps what can
-- happen to {state, answer}. p_mode as the switch idempotency: observe records the key and acts whatever came before, off does not
-- touch the store of keys. Outcomes as of app.accept_v2 and app.accept_unchecked_v1. The lock comes before the key, as everywhere.
CREATE FUNCTION app.act_v1(p_tenant uuid, p_effect jsonb, p_mode text)
RETURNS TABLE (outcome text, answer text, message_id uuid) LANGUAGE plpgsql
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_key bytea := decode(p_effect->>'key', 'hex');
  v_outcome text := CASE p_mode WHEN 'off' THEN 'unchecked' ELSE 'new' END;
  v_happened text;
  v_message uuid;
  v_note text;
  v_state text;
  v_answer text;
  x record;
  p record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  PERFORM pg_advisory_xact_lock((p_effect->>'lock')::bigint);
  SELECT r.webhook_id, r.place, r.source, r.type, r.call_id, r.assistant_id, r.fingerprint, r.name, r.tool_call_id, r.arguments, r.caller, r.replay_of,
         r.meter, r.act, r.recipient, r.waiting, r.same_within, r.says INTO x
  FROM jsonb_to_record(p_effect) AS r(
    webhook_id uuid, place smallint, source text, type text, call_id text, assistant_id text, fingerprint text, name text, tool_call_id text,
    arguments text, caller text, replay_of uuid, meter text, act text, recipient text, waiting text[], same_within double precision, says jsonb);
  IF p_mode <> 'off' THEN
    INSERT INTO processed_webhooks
      (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, tool_call_id, name, arguments, caller,
       replay_of, answer, received_at)
    VALUES (p_tenant, v_key, decode(x.fingerprint, 'hex'), x.webhook_id, x.place, x.source, x.type, 'done', x.call_id, x.assistant_id,
            x.tool_call_id, x.name, x.arguments, x.caller, x.replay_of, '{}', v_now)
    ON CONFLICT (tenant_id, key) DO NOTHING;
    IF NOT FOUND THEN
      SELECT w.webhook_id = x.webhook_id AND w.place = x.place AS mine, w.fingerprint = decode(x.fingerprint, 'hex') AS same, w.state, w.answer,
             w.message_id INTO p
      FROM processed_webhooks AS w WHERE w.tenant_id = p_tenant AND w.key BETWEEN v_key AND v_key ORDER BY w.key LIMIT 1;  -- see app.accept_v2
      IF NOT FOUND THEN
        RETURN QUERY SELECT 'absent'::text, NULL::text, NULL::uuid;  -- it ended between the two looks: claim again
        RETURN;
      END IF;
      IF p_mode = 'enforce' OR p.mine THEN
        RETURN QUERY SELECT CASE WHEN p.mine THEN 'new' WHEN NOT p.same THEN 'conflict' WHEN p.state IN ('in_flight', 'dead') THEN 'unfinished'
                                 ELSE 'replay' END, CASE WHEN p.same THEN p.answer END, CASE WHEN p.same THEN p.message_id END;
        RETURN;
      END IF;
      v_outcome := 'repeated';
    END IF;
  END IF;
  v_note := 'tool call ' || x.place || ' of webhook ' || x.webhook_id;
  IF x.act = 'opt_out' THEN
    v_happened := app.opt_out_v1(p_tenant, x.recipient, x.waiting, v_note);
  ELSE
    SELECT c.happened, c.message_id INTO v_happened, v_message
    FROM app.cancel_newest_v1(p_tenant, x.call_id, x.recipient, x.waiting, v_note, x.same_within) AS c;
  END IF;
  v_state := x.says->v_happened->>'state';
  v_answer := x.says->v_happened->>'answer';
  IF v_outcome = 'new' THEN
    UPDATE processed_webhooks AS w SET state = v_state, answer = v_answer, message_id = v_message WHERE w.tenant_id = p_tenant AND w.key = v_key;
  END IF;
  IF v_state = 'done' THEN
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
    VALUES (p_tenant, x.meter, CASE WHEN p_mode = 'enforce' THEN 'effect:' || (p_effect->>'key') ELSE 'unchecked:' || x.webhook_id || ':' || x.place END,
            1, v_now, v_now)
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  END IF;
  RETURN QUERY SELECT v_outcome, v_answer, v_message;
END $$;
GRANT EXECUTE ON FUNCTION app.cancel_newest_v1, app.opt_out_v1, app.act_v1 TO {app};
