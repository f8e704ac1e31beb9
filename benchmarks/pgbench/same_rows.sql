-- The rows of one first delivery and nothing else: one prepared statement, no function, no row security, no HTTP, no duplicate to notice.
-- The variables tenant, sender and registration name a tenant made for this measurement.
WITH effect AS MATERIALIZED (
  SELECT uuidv7() AS webhook_id, uuidv7() AS message_id, gen_random_uuid() AS call_id, clock_timestamp() AS at
), message AS (
  INSERT INTO messages (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id,
                        call_id, due_at, expected_at, created_at, updated_at)
  SELECT :tenant::uuid, message_id, '+12125550123', 'Your table for two is booked for Friday at seven. Reply STOP to opt out.',
         'transactional', 1, 'gsm7', 1, 'queued', :sender::uuid, :registration::uuid, call_id::text, at, at, at, at
  FROM effect
), arrival AS (
  INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
  SELECT :tenant::uuid, :registration::uuid, at, 1 FROM effect
), used AS (
  INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
  SELECT :tenant::uuid, 'tool_calls', 'effect:' || encode(uuid_send(call_id), 'hex'), 1, at, at FROM effect
)
INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id,
                                tool_call_id, name, arguments, answer, message_id, received_at)
SELECT :tenant::uuid, uuid_send(call_id), uuid_send(webhook_id), webhook_id, 0, 'vapi', 'tool-calls', 'done', call_id::text,
       '019ae386-b29f-7eb0-a4ff-e40335e0c44f', 'call_0000000000000000000000001', 'send_sms',
       '{"to":"+12125550123","body":"Your table for two is booked for Friday at seven. Reply STOP to opt out."}',
       'Queued, leaves in about 4 s.', message_id, at
FROM effect;
