// The seed recipe: the single-tenant Vapi webhook backend a team writes in an afternoon, in one Node process.
// It is left as such a team would leave it; README.md says where that favours it.
import { timingSafeEqual } from 'node:crypto';
import Bottleneck from 'bottleneck';
import express from 'express';
import { DateTime } from 'luxon';
import pg from 'pg';

const { DATABASE_URL, WEBHOOK_SECRET, PORT = '0', TIME_ZONE = 'America/New_York' } = process.env;
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 });

// One segment per second, sixty per minute, for the one number it owns; what waits, waits in this process's memory.
const limiter = new Bottleneck({ maxConcurrent: 1, minTime: 1000, reservoir: 60, reservoirRefreshAmount: 60, reservoirRefreshInterval: 60_000 });

const sendSms = async (to, body) => ({ to, body, sid: null }); // where the recipe calls Twilio: no network here

const UPSERT = `
  INSERT INTO processed_webhooks (request_id, event_type, call_id, tool_name, arguments)
  VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (request_id) DO UPDATE SET deliveries = processed_webhooks.deliveries + 1, last_seen = now()
  RETURNING (xmax = 0) AS inserted`;

const tools = {
  send_sms({ to, body }) {
    limiter.schedule(sendSms, to, body).catch((error) => console.error('sms failed:', error.message));
    return `Queued at ${DateTime.now().setZone(TIME_ZONE).toFormat('h:mm a')}.`;
  },
};

async function handleToolCall(message, { id, function: { name, arguments: given } }) {
  const args = typeof given === 'string' ? JSON.parse(given) : given;
  const values = [`${message.call.id}:${id}`, message.type, message.call.id, name, JSON.stringify(args)];
  const { rows } = await pool.query(UPSERT, values);
  if (!rows[0].inserted) return { toolCallId: id, result: 'Already processed.' };
  return { toolCallId: id, result: tools[name](args) };
}

function authorized(request) {
  const given = Buffer.from(request.get('authorization') ?? '');
  const expected = Buffer.from(`Bearer ${WEBHOOK_SECRET}`);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

const app = express();

app.get('/health', (_request, response) => response.json({ ok: true }));

app.post('/vapi-webhook', express.json({ limit: '5mb' }), async (request, response) => {
  if (!authorized(request)) return response.status(401).json({ error: 'unauthorized' });
  const { message } = request.body;
  if (message.type !== 'tool-calls') return response.json({});
  const results = await Promise.all(message.toolCallList.map((call) => handleToolCall(message, call)));
  return response.json({ results });
});

const server = app.listen(Number(PORT), '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
