// The plan's own design, to be measured beside: four queues of BullMQ on Redis in one process of Node, on the same tables.
//
// It is that design at its best. A batch that is complete gives its place to the next one at once, where the plan looks for
// a free place once a minute. Requests are admitted and counted in one step, where the plan counts first and records then.
// Rows are written in bulk, where the plan writes them one by one. It ends when no contact is queued or in a batch.
import { DelayedError, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';

const env = process.env;
const BATCH_SIZE = Number(env.BATCH_SIZE);
const MOST_IN_FLIGHT = Number(env.MAX_CONCURRENT_BATCHES);
const POLL = { delay: 1000 * Number(env.POLL_SECONDS_MIN) };
const WINDOW = 60_000;
// Bouncer allows 200 requests and 60 uploads in a window. The plan keeps a tenth of the requests in reserve.
const REQUESTS = { key: 'requests', most: 180 };
const UPLOADS = { key: 'uploads', most: 54 };
const JOB = { attempts: 3, backoff: { type: 'exponential', delay: 2000 }, removeOnComplete: 50, removeOnFail: 100 };

const connection = { host: '127.0.0.1', port: Number(env.REDIS_PORT), maxRetriesPerRequest: null };
const redis = new Redis(connection);
redis.defineCommand('admit', {
  lua: `
    local now, window, wait = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
    for place, key in ipairs(KEYS) do
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
      if redis.call('ZCARD', key) >= tonumber(ARGV[3 + place]) then
        local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
        wait = math.max(wait, oldest + window - now + 1)
      end
    end
    for _, key in ipairs(wait == 0 and KEYS or {}) do
      redis.call('ZADD', key, now, ARGV[3])
    end
    return wait`,
});

const pool = mysql.createPool({ uri: env.DATABASE_URL, connectionLimit: 20 });
pool.on('connection', (one) => {
  one.query("SET time_zone = '+00:00'");
  one.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
});

const of = (name) => new Queue(name, { connection, defaultJobOptions: JOB });
const creating = of('email-verification');
const checking = of('batch-status-check');
const downloading = of('batch-download');
const cleaning = of('cleanup-tasks');

async function createBatch(job, token) {
  // A job that is tried again goes on with the batch that it has claimed.
  const batch = job.data.batch ?? (await claim());
  if (!batch) return endWhenDone();
  if (!job.data.batch) await job.updateData({ batch });
  const [contacts] = await pool.query(
    'SELECT c.email FROM Bouncer_Queue q JOIN Contacts_Global c USING (global_id) WHERE q.batch_id = ?', [batch]);
  const addresses = interleave([...new Set(contacts.map(({ email }) => email.toLowerCase()))]);
  await admitted(job, token, REQUESTS, UPLOADS);
  const { batchId } = await call('POST', '', addresses.map((email) => ({ email })));
  await pool.query(
    "UPDATE Bouncer_Batches SET batch_id = ?, status = 'processing', uploaded_ts = CURRENT_TIMESTAMP WHERE id = ?",
    [batchId, batch]);
  await checking.add('check-batch-status', { batch, batchId }, POLL);
}

async function checkStatus(job, token) {
  const { batch, batchId } = job.data;
  await admitted(job, token, REQUESTS);
  const { status } = await call('GET', `/${batchId}`);
  if (status !== 'completed') return checking.add('check-batch-status', { batch, batchId }, POLL);
  await pool.query("UPDATE Bouncer_Batches SET status = 'downloading' WHERE id = ?", [batch]);
  await creating.add('create-batch', {});
  await downloading.add('download-batch-results', { batch, batchId });
}

async function download(job, token) {
  const { batch, batchId } = job.data;
  await admitted(job, token, REQUESTS);
  const results = await call('GET', `/${batchId}/download?download=all`);
  await store(batch, results);
  await endWhenDone();
}

async function cleanUp() {
  for (const { key } of [REQUESTS, UPLOADS]) await redis.zremrangebyscore(key, '-inf', Date.now() - WINDOW);
  const waiting = await Promise.all([creating, checking, downloading].map((queue) => queue.count()));
  const metrics = ['creating', 'checking', 'downloading'].map((name, place) => [`peer_${name}`, waiting[place]]);
  await pool.query('INSERT INTO Bouncer_Health_Metrics (metric_name, metric_value) VALUES ?', [metrics]);
}

async function claim() {
  return transaction(async (db) => {
    const [[first]] = await db.query(
      "SELECT user_id, request_id FROM Bouncer_Queue WHERE status = 'queued' ORDER BY priority DESC LIMIT 1");
    if (!first) return null;
    const [{ insertId: batch }] = await db.query(
      'INSERT INTO Bouncer_Batches (user_id, request_id, quantity) VALUES (?, ?, 0)', [first.user_id, first.request_id]);
    const [{ affectedRows: quantity }] = await db.query(
      `UPDATE Bouncer_Queue SET status = 'assigned', batch_id = ?, assigned_ts = CURRENT_TIMESTAMP
       WHERE status = 'queued' AND request_id = ? ORDER BY priority DESC LIMIT ?`, [batch, first.request_id, BATCH_SIZE]);
    // Another claim may have taken the last ones.
    if (!quantity) await db.query('DELETE FROM Bouncer_Batches WHERE id = ?', [batch]);
    else await db.query('UPDATE Bouncer_Batches SET quantity = ? WHERE id = ?', [quantity, batch]);
    return quantity ? batch : null;
  });
}

async function store(batch, results) {
  const [contacts] = await pool.query(
    'SELECT q.global_id, c.email FROM Bouncer_Queue q JOIN Contacts_Global c USING (global_id) WHERE q.batch_id = ?', [batch]);
  const found = new Map(results.map((result) => [result.email.toLowerCase(), result]));
  const json = (details) => (details ? JSON.stringify(details) : null);
  const rows = contacts.map(({ global_id, email }) => {
    const r = found.get(email.toLowerCase());
    if (!r) throw new Error(`batch ${batch} came back without a verdict on one of its contacts`);
    return [batch, global_id, r.status, r.reason, json(r.domain), json(r.account), json(r.dns), r.provider, r.score, r.toxic,
      r.toxicity];
  });
  await transaction(async (db) => {
    await db.query(
      `INSERT INTO Bouncer_Results (batch_id, global_id, bouncer_status, bouncer_reason, domain_info, account_info, dns_info,
       provider, score, toxic, toxicity) VALUES ?`, [rows]);
    await db.query(
      `UPDATE Contacts_Global c JOIN Bouncer_Results r USING (global_id) SET c.bouncer_status = r.bouncer_status,
       c.bouncer_reason = r.bouncer_reason, c.bouncer_score = r.score, c.bouncer_verified_ts = CURRENT_TIMESTAMP,
       c.bouncer_batch_id = r.batch_id WHERE r.batch_id = ?`, [batch]);
    await db.query(
      "UPDATE Bouncer_Queue SET status = 'completed', completed_ts = CURRENT_TIMESTAMP WHERE batch_id = ?", [batch]);
    await db.query(
      "UPDATE Bouncer_Batches SET status = 'completed', completed_ts = CURRENT_TIMESTAMP WHERE id = ?", [batch]);
  });
}

async function transaction(work) {
  const db = await pool.getConnection();
  try {
    await db.beginTransaction();
    const done = await work(db);
    await db.commit();
    return done;
  } catch (error) {
    await db.rollback();
    throw error;
  } finally {
    db.release();
  }
}

// Takes one from each of the limits, or puts the job off until all of them have one again.
async function admitted(job, token, ...limits) {
  const [keys, most] = [limits.map((limit) => limit.key), limits.map((limit) => limit.most)];
  const one = `${job.queueName}-${job.id}-${performance.now()}`;
  const wait = await redis.admit(keys.length, ...keys, Date.now(), WINDOW, one, ...most);
  if (wait === 0) return;
  await job.moveToDelayed(Date.now() + wait, token);
  throw new DelayedError();
}

async function call(method, path, body) {
  const answer = await fetch(`${env.BOUNCER_API_BASE_URL}/email/verify/batch${path}`, {
    method,
    headers: { 'x-api-key': env.BOUNCER_API_KEY, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  });
  if (!answer.ok) throw new Error(`Bouncer answered ${answer.status} to ${method}`);
  return answer.json();
}

// One address of each domain in turn, as long as it has any.
function interleave(addresses) {
  const groups = new Map();
  for (const address of addresses) {
    const domain = address.slice(address.indexOf('@') + 1);
    if (!groups.has(domain)) groups.set(domain, []);
    groups.get(domain).push(address);
  }
  const mixed = [];
  let domains = [...groups.values()];
  while (domains.length) {
    for (const domain of domains) mixed.push(domain.pop());
    domains = domains.filter((domain) => domain.length);
  }
  return mixed;
}

async function endWhenDone() {
  const [[{ open }]] = await pool.query(
    `SELECT EXISTS (SELECT 1 FROM Bouncer_Queue WHERE status = 'queued')
     OR EXISTS (SELECT 1 FROM Bouncer_Queue WHERE status = 'assigned') AS open`);
  // Not awaited: a worker closes when its jobs are done, and this is one of them.
  if (!open) ending ??= close().catch(fail);
}

async function close() {
  await Promise.all(workers.map((worker) => worker.close()));
  await Promise.all([creating, checking, downloading, cleaning].map((queue) => queue.close()));
  await Promise.all([redis.quit(), pool.end()]);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

let ending;
const at = (queue, work, concurrency) => new Worker(queue.name, work, { connection, concurrency });
const workers = [
  at(creating, createBatch, 5),
  at(checking, checkStatus, 10),
  at(downloading, download, 3),
  at(cleaning, cleanUp, 1),
];
for (const worker of workers) {
  worker.on('error', fail);
  worker.on('failed', (job, error) => (job && job.attemptsMade < JOB.attempts ? console.error(error) : fail(error)));
}
await cleaning.upsertJobScheduler('each-minute', { every: WINDOW }, { name: 'health-check' });
await creating.addBulk(Array.from({ length: MOST_IN_FLIGHT }, () => ({ name: 'create-batch', data: {} })));
