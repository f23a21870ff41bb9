// BullMQ: jobs that do nothing, added in bulk to an empty queue and drained by one worker, 100 at a time.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
const require = createRequire(process.env.NODE_PATH + '/');
const { Queue, Worker } = require('bullmq');

const POLL = 5;
const BATCH = 1000;
const [url, count] = [process.argv[2], Number(process.argv[3])];
const at = new URL(url);
const connection = {
  host: at.hostname,
  port: Number(at.port),
  password: decodeURIComponent(at.password),
  maxRetriesPerRequest: null,
};
const queue = new Queue('noop', { connection });
await queue.obliterate({ force: true });
for (let done = 0; done < count; done += BATCH) {
  await queue.addBulk(
    Array.from({ length: Math.min(BATCH, count - done) }, (_, i) => ({
      name: 'noop',
      data: { id: done + i },
      opts: { removeOnComplete: true },
    })),
  );
}
let seen = 0;
const begun = performance.now();
const worker = new Worker('noop', async () => {}, { connection, concurrency: 100 });
worker.on('completed', () => (seen += 1));
while (seen < count) await sleep(POLL);
// As for all others, the clock stops when nothing is left in the database.
let ended;
for (;;) {
  ended = performance.now();
  if ((await queue.getJobCountByTypes('waiting', 'active', 'delayed', 'failed')) === 0) break;
  await sleep(POLL);
}
console.log(JSON.stringify({ rate: count / ((ended - begun) / 1000) }));
process.exit(0);
