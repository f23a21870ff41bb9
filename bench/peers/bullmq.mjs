// BullMQ: jobs that do nothing, added in bulk and drained by one worker, 100 at a time.
import { createRequire } from 'node:module';
const require = createRequire(process.env.NODE_PATH + '/');
const { Queue, Worker } = require('bullmq');

const [url, count] = [process.argv[2], Number(process.argv[3])];
const at = new URL(url);
const connection = {
  host: at.hostname,
  port: Number(at.port),
  password: decodeURIComponent(at.password),
  maxRetriesPerRequest: null,
};
const queue = new Queue('noop', { connection });
for (let done = 0; done < count; done += 1000) {
  await queue.addBulk(
    Array.from({ length: 1000 }, (_, i) => ({
      name: 'noop',
      data: { id: done + i },
      opts: { removeOnComplete: true },
    })),
  );
}
let seen = 0;
const begun = performance.now();
await new Promise((resolve) => {
  const worker = new Worker('noop', async () => {}, { connection, concurrency: 100 });
  worker.on('completed', () => {
    seen += 1;
    if (seen === count) resolve();
  });
});
console.log(JSON.stringify({ rate: count / ((performance.now() - begun) / 1000) }));
process.exit(0);
