-- What Twilio charges for a text is known some time after it ended, and told by its list alone: asked for then, on the ledger once.

-- price_due: when Twilio is asked for the price of a text that ended; null while it has not ended, and once it is settled.
ALTER TABLE messages ADD COLUMN price_due timestamptz;
CREATE INDEX messages_price_due_idx ON messages (tenant_id, price_due) WHERE price_due IS NOT NULL;

-- Texts whose price is to be asked for, of p_tenants tenants behind p_behind; claimed by moving price_due. The last row has no message: the last
-- tenant that was visited, null when the round is over. An idle tenant costs one look into its empty index.
CREATE FUNCTION app.take_unpriced_v1(p_behind uuid, p_tenants integer, p_most integer, p_claim interval)
RETURNS TABLE (tenant_id uuid, sender_id uuid, message_id uuid, sid text, created_at timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  t record;
  v_now timestamptz := app.now();
  v_visited integer := 0;
  v_last uuid;
BEGIN
  FOR t IN SELECT DISTINCT d.tenant_id FROM control.schedule AS d WHERE d.tenant_id > p_behind ORDER BY d.tenant_id LIMIT p_tenants LOOP
    v_visited := v_visited + 1;
    v_last := t.tenant_id;
    PERFORM set_config('app.tenant_id', t.tenant_id::text, true);
    RETURN QUERY
      WITH due AS (
        SELECT m.id FROM messages AS m WHERE m.tenant_id = t.tenant_id AND m.price_due <= v_now
        ORDER BY m.price_due LIMIT p_most FOR UPDATE SKIP LOCKED)
      UPDATE messages AS u SET price_due = v_now + p_claim FROM due WHERE u.tenant_id = t.tenant_id AND u.id = due.id
      RETURNING u.tenant_id, u.sender_id, u.id, u.twilio_sid, u.created_at;
  END LOOP;
  RETURN QUERY SELECT CASE WHEN v_visited = p_tenants THEN v_last END, NULL::uuid, NULL::uuid, NULL::text, NULL::timestamptz;
END $$;

-- What Twilio's list said of texts of one tenant. p_found: [{message_id, sid, price, segments}]: with a price (USD, positive) it stands on the
-- ledger, once for each Sid, and a final count that differs is the usual correction; without one it is asked again, ever later, for three days.
CREATE FUNCTION app.settle_prices_v1(p_tenant uuid, p_found jsonb) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  f record;
  m record;
  v_now timestamptz := app.now();
  v_priced integer := 0;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  FOR f IN SELECT x.message_id, x.sid, x.price, x.segments
           FROM jsonb_to_recordset(p_found) AS x(message_id uuid, sid text, price numeric, segments smallint) ORDER BY x.message_id LOOP
    UPDATE messages AS u SET price_due = CASE
      WHEN f.price IS NULL AND u.updated_at > v_now - interval '3 days' THEN v_now + greatest(interval '5 minutes', v_now - u.updated_at) END
    WHERE u.tenant_id = p_tenant AND u.id = f.message_id AND u.twilio_sid = f.sid AND u.price_due IS NOT NULL
    RETURNING u.segments, u.sent_at INTO m;
    CONTINUE WHEN NOT FOUND OR f.price IS NULL;
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
    VALUES (p_tenant, 'sms_cost_usd', 'message:' || f.message_id || ':' || f.sid, f.price, coalesce(m.sent_at, v_now))
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
    PERFORM app.bill_segments_v1(p_tenant, f.message_id, m.segments, f.segments, coalesce(m.sent_at, v_now));
    v_priced := v_priced + 1;
  END LOOP;
  RETURN v_priced;
END $$;
GRANT EXECUTE ON FUNCTION app.take_unpriced_v1, app.settle_prices_v1 TO {app};
