// Clustered Bottleneck under the pacer's load: one process of a run. Input and output as limiters.py beside it.
import net from "node:net";

const input = [];
for await (const chunk of process.stdin) input.push(chunk);
const wanted = JSON.parse(Buffer.concat(input).toString());
const real = Date.now;
Date.now = () => real() + Math.round(wanted.skew * 1000); // before the library is loaded; timers go by the machine's own clock
const failed = {};
const door = net.connect(wanted.door, "127.0.0.1");
await new Promise((resolve, reject) => door.once("connect", resolve).once("error", reject));
await new Promise((resolve) => door.once("data", resolve)); // all processes of the run are there
const ends = real() + wanted.seconds * 1000;

async function run([side, rate, number]) {
  try {
    const { default: Bottleneck } = await import("bottleneck");
    const { default: Redis } = await import("ioredis");
    const limiter = new Bottleneck({
      id: `bottleneck-${rate}`,
      datastore: "ioredis",
      clearDatastore: false,
      Redis,
      clientOptions: { ...wanted.redisAt },
      minTime: 60000 / rate,
    });
    limiter.on("error", (error) => (failed[side] = String(error).slice(0, 200)));
    await limiter.ready();
    const record = Buffer.alloc(5);
    record.writeUInt8(number, 0);
    record.writeUInt32BE(rate, 1);
    // as many jobs at a time as one process may send in a second, so that its queue is never empty
    const sending = async () => {
      while (real() < ends) await limiter.schedule(async () => void (real() < ends && door.write(record)));
    };
    const late = new Promise((resolve) => setTimeout(resolve, ends - real() + 2000)); // a job may lie far ahead by another's clock
    await Promise.race([Promise.all(Array.from({ length: 1 + Math.ceil(rate / 60) }, sending)), late]);
  } catch (error) {
    failed[side] = String(error).slice(0, 200);
  }
}

await Promise.all(wanted.sides.map(run));
await new Promise((resolve) => door.end(resolve));
process.stdout.write(JSON.stringify(failed), () => process.exit(0));
