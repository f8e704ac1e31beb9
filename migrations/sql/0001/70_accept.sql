-- The fast path of ingest: claim, act, answer, in one round trip and one transaction. No business rules here: what is
-- written and answered was decided before. Claim and read are two statements, each with a snapshot of its own, so that the
-- loser of a race always finds the winner's answer.

CREATE FUNCTION app.accept_v1(
  p_tenant uuid, p_webhook uuid, p_source text, p_type text, p_call text, p_assistant text, p_effects jsonb
) RETURNS TABLE (place smallint, outcome text, answer text, message uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  e record;
  v_now timestamptz := app.now();
  v_answer text;
  v_message uuid;
  v_fingerprint bytea;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  -- callers send the effects ordered by key, so that two webhooks with the same keys cannot wait for each other in a ring
  FOR e IN
    SELECT x.place, decode(x.key, 'hex') AS key, decode(x.fingerprint, 'hex') AS fingerprint, x.store, x.name, x.tool_call_id, x.arguments,
           x.answer, x.suppressed_answer, x.meter, x.state, x.message
    FROM jsonb_to_recordset(p_effects) AS x(
      place smallint, key text, fingerprint text, store boolean, name text, tool_call_id text, arguments text,
      answer text, suppressed_answer text, meter text, state text, message jsonb)
  LOOP
    v_answer := e.answer;
    v_message := (e.message ->> 'id')::uuid;
    IF v_message IS NOT NULL AND EXISTS (SELECT 1 FROM opt_outs WHERE tenant_id = p_tenant AND recipient = e.message ->> 'recipient') THEN
      v_answer := e.suppressed_answer;
      v_message := NULL;
    END IF;
    IF e.store THEN
      INSERT INTO processed_webhooks
        (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, tool_call_id, name, arguments,
         answer, message_id, received_at)
      VALUES (p_tenant, e.key, e.fingerprint, p_webhook, e.place, p_source, p_type, e.state, p_call, p_assistant, e.tool_call_id, e.name,
              e.arguments, v_answer, v_message, v_now)
      ON CONFLICT (tenant_id, key) DO NOTHING;
    END IF;
    IF e.store AND FOUND THEN
      IF v_message IS NOT NULL THEN
        INSERT INTO messages
          (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id, call_id, due_at,
           expected_at, created_at, updated_at)
        SELECT p_tenant, m.id, m.recipient, m.body, m.class, m.priority, m.encoding, m.segments, m.status, m.sender_id, m.registration_id,
               p_call, coalesce(m.due_at, v_now), coalesce(m.expected_at, v_now), v_now, v_now
        FROM jsonb_to_record(e.message) AS m(
          id uuid, recipient text, body text, class text, priority smallint, encoding text, segments smallint, status text, sender_id uuid,
          registration_id uuid, due_at timestamptz, expected_at timestamptz);
        INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
        VALUES (p_tenant, (e.message ->> 'registration_id')::uuid, coalesce((e.message ->> 'due_at')::timestamptz, v_now),
                (e.message ->> 'segments')::integer);
      END IF;
      IF e.meter IS NOT NULL THEN
        INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
        VALUES (p_tenant, e.meter, 'effect:' || encode(e.key, 'hex'), 1, v_now, v_now)
        ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
      END IF;
      RETURN QUERY SELECT e.place, 'new', v_answer, v_message;
    ELSE
      SELECT p.fingerprint, p.answer, p.message_id INTO v_fingerprint, v_answer, v_message
      FROM processed_webhooks AS p WHERE p.tenant_id = p_tenant AND p.key = e.key;
      IF NOT FOUND THEN
        -- not to be stored, or cleaned up between the two statements: the caller knows which
        RETURN QUERY SELECT e.place, 'absent', e.answer, NULL::uuid;
      ELSIF v_fingerprint <> e.fingerprint THEN
        RETURN QUERY SELECT e.place, 'conflict', NULL::text, NULL::uuid;
      ELSE
        RETURN QUERY SELECT e.place, 'replay', v_answer, v_message;
      END IF;
    END IF;
  END LOOP;
END $$;

-- A report or a status of a call: the first one claims its key; what it says fills gaps of the call and the ledger, whose
-- own uniqueness makes a repetition harmless. A call's state only rises.
CREATE FUNCTION app.record_call_v1(
  p_tenant uuid, p_webhook uuid, p_type text, p_call text, p_assistant text, p_key bytea, p_fingerprint bytea, p_state text,
  p_state_rank smallint, p_started_at timestamptz, p_ended_at timestamptz, p_seconds numeric, p_estimated_seconds numeric,
  p_cost_usd numeric, p_ended_reason text, p_final boolean
) RETURNS TABLE (outcome text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_fingerprint bytea;
  v_outcome text := 'new';
  v_seconds numeric;
  v_cost numeric;
  v_at timestamptz;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, answer, received_at)
  VALUES (p_tenant, p_key, p_fingerprint, p_webhook, 0, 'vapi', p_type, 'done', p_call, p_assistant, '{}', v_now)
  ON CONFLICT (tenant_id, key) DO NOTHING;
  IF NOT FOUND THEN
    SELECT p.fingerprint INTO v_fingerprint FROM processed_webhooks AS p WHERE p.tenant_id = p_tenant AND p.key = p_key;
    IF v_fingerprint IS NOT DISTINCT FROM p_fingerprint THEN
      RETURN QUERY SELECT 'replay'::text;
      RETURN;
    END IF;
    v_outcome := 'differs';
  END IF;
  INSERT INTO calls AS c (tenant_id, call_id, assistant_id, state, state_rank, started_at, ended_at, seconds, estimated_seconds, cost_usd,
                          ended_reason, created_at, updated_at)
  VALUES (p_tenant, p_call, p_assistant, p_state, p_state_rank, p_started_at, p_ended_at, p_seconds, p_estimated_seconds, p_cost_usd,
          p_ended_reason, v_now, v_now)
  ON CONFLICT (tenant_id, call_id) DO UPDATE SET
    assistant_id = coalesce(c.assistant_id, excluded.assistant_id),
    state = CASE WHEN excluded.state_rank > c.state_rank THEN excluded.state ELSE c.state END,
    state_rank = greatest(c.state_rank, excluded.state_rank),
    started_at = coalesce(c.started_at, excluded.started_at),
    ended_at = coalesce(c.ended_at, excluded.ended_at),
    seconds = coalesce(c.seconds, excluded.seconds),
    estimated_seconds = coalesce(c.estimated_seconds, excluded.estimated_seconds),
    cost_usd = coalesce(c.cost_usd, excluded.cost_usd),
    ended_reason = coalesce(c.ended_reason, excluded.ended_reason),
    updated_at = v_now
  RETURNING c.seconds, c.cost_usd, coalesce(c.ended_at, v_now) INTO v_seconds, v_cost, v_at;
  IF p_final THEN
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
    SELECT p_tenant, u.meter, 'call:' || p_call, u.quantity, v_at, v_now
    FROM (VALUES ('calls', 1::numeric), ('call_seconds', v_seconds), ('vapi_cost_usd', v_cost)) AS u(meter, quantity)
    WHERE u.quantity IS NOT NULL
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  END IF;
  RETURN QUERY SELECT v_outcome;
END $$;

GRANT EXECUTE ON FUNCTION app.accept_v1, app.record_call_v1 TO {app};
