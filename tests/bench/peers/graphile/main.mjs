// SPDX-License-Identifier: Apache-2.0
// graphile-worker (worker.graphile.org) on the work of `make bench`: node main.mjs URL JOBS noop|row. Fills its table with jobs
// of 200 bytes, drains them, and prints one JSON line. It deletes finished jobs, so the time is taken here: from the first start
// of a handler until its table is empty. row: one row of the user's, at least once (it has no common transaction).
import pg from 'pg';
import { Logger, run, runMigrations } from 'graphile-worker';

const [url, jobs, work] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const pgPool = new pg.Pool({ connectionString: url, max: 32 });
pgPool.on('error', () => {});
pgPool.on('connect', (client) => client.on('error', () => {}));
const logger = new Logger(() => (level, message) => { if (level === 'error') console.error(message); });

async function fill() {
  await runMigrations({ pgPool, logger });
  await pgPool.query('DROP TABLE IF EXISTS graphile_rows; CREATE TABLE graphile_rows(job_id bigint PRIMARY KEY, payload text)');
  await pgPool.query(
    `SELECT graphile_worker.add_jobs(array_agg(row('bench', json_build_object('pad', repeat('x', 190)), NULL, now(), NULL, NULL,
       NULL, NULL)::graphile_worker.job_spec)) FROM generate_series(1, $1) n GROUP BY n / 1000`, [jobs]);
  await pgPool.query('VACUUM ANALYZE graphile_worker._private_jobs');
}

let started = 0;
let succeeded = 0;
async function bench(payload, helpers) {
  started ||= performance.now();
  if (work === 'row') {
    await pgPool.query({ name: 'row', text: "INSERT INTO graphile_rows VALUES ($1, 'row') ON CONFLICT DO NOTHING", values: [helpers.job.id] });
  }
}

async function emptied() {
  const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
  while (succeeded < jobs) await sleep(10);
  for (;;) {
    const left = await pgPool.query('SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) AS any');
    if (!left.rows[0].any) return (performance.now() - started) / 1000;
    await sleep(10);
  }
}

await fill();
const preset = { worker: {
  concurrentJobs: work === 'row' ? 64 : 32, maxPoolSize: 32, pollInterval: 500, completeJobBatchDelay: 0, failJobBatchDelay: 0,
  localQueue: { size: 500, refetchDelay: { durationMs: 20, threshold: 0 } },
} };
const runner = await run({ preset, pgPool, logger, noHandleSignals: true, taskList: { bench } });
runner.events.on('job:success', () => { succeeded++; });
const seconds = await emptied();
const rows = (await pgPool.query('SELECT count(*)::int AS n FROM graphile_rows')).rows[0].n;
if (work === 'row' && rows !== jobs) throw new Error(`${rows} rows of ${jobs} jobs`);
console.log(JSON.stringify({ rate: jobs / seconds, seconds }));
process.exit(0);
