import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { parseId } from '@mayfly/protocol';
import { request } from 'undici';
import { operator } from './reaper-documents.ts';
import { adopt, type Cloud, fill, lanes } from './reaper-fill.ts';
import { memoryOf, type ReaperBench, startReaperBench } from './reaper-installation.ts';

/**
 * `npm run bench -- reaper`: JSON on standard output, progress on standard error. Each figure of docs stands beside
 * what was measured; exit 1 when one is missed.
 */
const { values } = parseArgs({
  options: {
    outstanding: { type: 'string', default: '100000,1000000' },
    deviating: { type: 'string', default: '10000' },
    expiring: { type: 'string', default: '100000' },
    ends: { type: 'string', default: '100' },
    'cloud-latency': { type: 'string', default: '40' },
  },
});
const cloudLatencyMs = Number.parseInt(values['cloud-latency'], 10);
const clouds: readonly Cloud[] = ['aws', 'kubernetes'];
const parallelCalls = [50, 200] as const;
const lookMs = 20;
/** Whatever is slower has missed its figure by far. */
const patienceMs = 600_000;

const quantiles = `select count(*)::int as n,
  percentile_disc(0.5) within group (order by extract(epoch from e.at - e.requested_at))::float8 as p50,
  percentile_disc(0.99) within group (order by extract(epoch from e.at - e.requested_at))::float8 as p99
  from issuance_end e`;

interface Figure {
  readonly what: string;
  readonly measured: number;
  /** Null: told, and held to nothing. */
  readonly atMost: number | null;
  readonly unit: string;
}
const figures: Figure[] = [];
const say = (line: string) => console.error(line);

function note(what: string, measured: number, limit: { atMost: number | null; unit: string }): void {
  const figure = { what, measured: Math.round(measured * 100) / 100, ...limit };
  figures.push(figure);
  const held = limit.atMost === null ? '' : ` (at most ${limit.atMost})`;
  say(`  ${verdict(figure)}  ${what}: ${figure.measured} ${limit.unit}${held}`);
}

/** Written so that what could not be measured is missed. */
const verdict = ({ measured, atMost }: Figure) => {
  if (atMost === null) return 'told  ';
  return measured <= atMost ? 'ok    ' : 'missed';
};

for (const text of values.outstanding.split(',')) {
  const outstanding = Number.parseInt(text, 10);
  const bench = await startReaperBench(cloudLatencyMs);
  try {
    await measure(bench, outstanding);
  } finally {
    await bench.stop();
  }
}
const machine = { cores: cpus().length, cpu: cpus()[0]?.model ?? 'unknown', node: process.versions.node };
const shared = 'broker, PostgreSQL and stand-in clouds on the same cores';
const report = figures.map((figure) => ({ ...figure, verdict: verdict(figure).trim() }));
console.log(JSON.stringify({ machine: { ...machine, shared, cloudLatencyMs }, figures: report }, null, 2));
if (report.some(({ verdict: said }) => said === 'missed')) process.exitCode = 1;

async function measure(bench: ReaperBench, outstanding: number): Promise<void> {
  const first = await bench.start(parallelCalls[0]);
  for (const cloud of clouds) await issue(bench, cloud);
  await first.child.stop();
  say(`${outstanding} outstanding: filling the tables`);
  await fill(bench, { outstanding });
  const deviating = Math.min(Number.parseInt(values.deviating, 10), Math.floor(outstanding / 10));
  const expiring = Math.min(Number.parseInt(values.expiring, 10), Math.floor(outstanding / 4));
  await bench.makeSecrets(0, (parallelCalls.length + 1) * deviating + expiring);
  const label = `${outstanding} outstanding`;
  await restart(bench, label);
  for (const parallel of parallelCalls) {
    const { child } = await bench.start(parallel);
    if (parallel === parallelCalls[0]) {
      await singleEnds(bench, label);
      note(`${label}: RSS, steady`, memoryOf(child.pid).residentMb, { atMost: null, unit: 'MB' });
    }
    for (const cloud of clouds) await deviate(bench, { cloud, parallel, deviating, label });
    if (parallel === parallelCalls[1]) await revokeTasks(bench, { parallel, deviating, label });
    await child.stop();
  }
  await expire(bench, { expiring, label });
}

/** One task and one credential; answers the task's id. */
async function issue(bench: ReaperBench, cloud: Cloud): Promise<string> {
  const { origin, assertions } = bench;
  const headers = {
    authorization: `Bearer ${assertions.make('agent-1')}`,
    'content-type': 'application/json',
  };
  const opened = await request(`${origin}/v1/tasks`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ template: 'reaped', params: { quarter: '2026q3' } }),
  });
  const task: unknown = await opened.body.json();
  if (opened.statusCode !== 201) throw new Error(`opening answered ${JSON.stringify(task)}`);
  const id = String(Reflect.get(Object(task), 'id'));
  const tool =
    cloud === 'aws'
      ? { tool: 's3.read', identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf' }
      : { tool: 'k8s.deploy', identifier: 'k8s://bench/agents/deployer' };
  const answer = await request(`${origin}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      subject_token: assertions.make('agent-1'),
      authorization_details: JSON.stringify([{ type: 'mayfly_tool_call', task: id, ...tool }]),
    }).toString(),
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`the exchange answered ${text}`);
  return id;
}

async function end({ origin, assertions }: ReaperBench, task: string): Promise<void> {
  const answer = await request(`${origin}/v1/tasks/${task}/end`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${assertions.make('agent-1')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ outcome: 'completed' }),
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`the end answered ${answer.statusCode} ${text}`);
}

/** Killed, not stopped, with one row due: how long until it serves, and until that row was claimed. */
async function restart(bench: ReaperBench, label: string): Promise<void> {
  const { child: victim } = await bench.start(parallelCalls[0]);
  process.kill(victim.pid, 'SIGKILL');
  await victim.stop();
  const [row] = await bench.sql(
    `update work set due_at = clock_timestamp(), requested_at = clock_timestamp(), state = 'revoking'
     where id = (select id from work where lane = $1 order by id desc limit 1) returning id`,
    [lanes.aws],
  );
  const from = performance.now();
  const { readyMs, child } = await bench.start(parallelCalls[0]);
  await reach(bench, `select not exists (select from work where id = $1 and attempts = 0) as done`, [
    row?.['id'],
  ]);
  note(`${label}: restart until ready`, readyMs / 1000, { atMost: 3, unit: 's' });
  note(`${label}: restart until first claim`, (performance.now() - from) / 1000, { atMost: 5, unit: 's' });
  note(`${label}: RSS after restart, peak`, memoryOf(child.pid).peakMb, { atMost: 256, unit: 'MB' });
  await child.stop();
}

/** One after another, through the API, with everything else outstanding. */
async function singleEnds(bench: ReaperBench, label: string): Promise<void> {
  const ends = Number.parseInt(values.ends, 10);
  for (const cloud of clouds) {
    const tasks: string[] = [];
    for (let index = 0; index < ends; index += 1) {
      const id = await issue(bench, cloud);
      await end(bench, id);
      tasks.push(parseId('tsk', id) ?? '');
    }
    await reach(bench, 'select not exists (select from work where task_id = any($1::uuid[])) as done', [
      tasks,
    ]);
    const [row] = await bench.sql(
      `${quantiles} join issuance i on i.id = e.issuance_id and i.intended_at = e.intended_at
        where i.task_id = any($1::uuid[]) and i.purpose = 'agent'`,
      [tasks],
    );
    noteQuantiles(`${label}: one end, ${cloud}`, row, { count: ends, p50: 0.3, p99: 2 });
  }
}

/** By one statement, as an end by template asks for it. */
async function deviate(
  bench: ReaperBench,
  run: { cloud: Cloud; parallel: 50 | 200; deviating: number; label: string },
): Promise<void> {
  const { cloud, parallel, deviating, label } = run;
  say(`${label}: ${deviating} deviate, ${cloud}, ${parallel} calls at once`);
  const nudge = await issue(bench, cloud);
  const [asked] = await bench.sql(
    `with stamp as materialized (select clock_timestamp() as at), asked as (
       update work w set state = 'revoking', due_at = stamp.at, requested_at = stamp.at from stamp
       where w.id in (select id from work where lane = $1 and state = 'delivered' order by id limit $2) returning 1)
     select (select at from stamp)::text as at, (select count(*) from asked)::int as n`,
    [lanes[cloud], deviating],
  );
  if (asked?.['n'] !== deviating) throw new Error(`${asked?.['n']} deviate instead of ${deviating}`);
  // Whoever asks for an end also wakes its replica; a statement of this bench does not.
  await end(bench, nudge);
  const at = String(asked['at']);
  await reach(bench, 'select not exists (select from work where requested_at = $1::timestamptz) as done', [
    at,
  ]);
  const [row] = await bench.sql(`${quantiles} where e.requested_at = $1::timestamptz`, [at]);
  const what = `${label}: mass deviation of ${deviating}, ${cloud}, ${parallel} calls at once`;
  // What is asked of 10,000 is held to of them alone.
  const p99 = parallel === 50 ? 10 : 3;
  noteQuantiles(what, row, { count: deviating, p99: deviating <= 10_000 ? p99 : null });
}

/** Through the API, as an operator does: from the request on until the last is acknowledged. */
async function revokeTasks(
  bench: ReaperBench,
  { parallel, deviating, label }: { parallel: number; deviating: number; label: string },
): Promise<void> {
  for (const cloud of clouds) {
    const subject = `agent-on-${cloud}`;
    await adopt(bench, { cloud, count: deviating, subject });
    say(`${label}: ${deviating} tasks are revoked, ${cloud}`);
    const from = performance.now();
    const answer = await request(`${bench.origin}/v1/revocations`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${bench.assertions.make(operator)}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ workload: `bench/${subject}`, reason: 'measured' }),
    });
    const text = await answer.body.text();
    if (answer.statusCode !== 201) throw new Error(`the revocation answered ${answer.statusCode} ${text}`);
    const seconds = () => (performance.now() - from) / 1000;
    const what = `${label}: ${deviating} tasks revoked by workload, ${cloud}, ${parallel} calls at once`;
    const open = `select not exists (select from task where workload_subject = $1 and state = 'open') as done`;
    await reach(bench, open, [subject]);
    note(`${what}: no task gives any more`, seconds(), { atMost: null, unit: 's' });
    await reach(bench, 'select not exists (select from work where requested_at is not null) as done', []);
    note(`${what}: all acknowledged`, seconds(), { atMost: null, unit: 's' });
  }
}

async function expire(bench: ReaperBench, options: { expiring: number; label: string }): Promise<void> {
  const { expiring, label } = options;
  const { child } = await bench.start(parallelCalls[0]);
  const before = await bench.secretsLeft();
  const each = Math.floor(expiring / 2);
  say(`${label}: ${expiring} expire at once, half of them at each cloud`);
  const from = performance.now();
  for (const cloud of clouds)
    await bench.sql(
      `update work set due_at = clock_timestamp(), not_after = clock_timestamp() - interval '1 second', reach = 'expired'
       where id in (select id from work where lane = $1 and state = 'delivered' order by id limit $2)`,
      [lanes[cloud], each],
    );
  await reach(bench, `select not exists (select from work where reach = 'expired') as done`, []);
  const seconds = (performance.now() - from) / 1000;
  note(`${label}: ${expiring} expired, drained`, seconds, { atMost: 300, unit: 's' });
  const orphans = each - (before - (await bench.secretsLeft()));
  note(`${label}: orphans among them`, Math.abs(orphans), { atMost: 0, unit: 'Secrets' });
  note(`${label}: RSS, peak`, memoryOf(child.pid).peakMb, { atMost: null, unit: 'MB' });
  await child.stop();
}

function noteQuantiles(
  what: string,
  row: Record<string, unknown> | undefined,
  limits: { count: number; p50?: number; p99: number | null },
): void {
  // An end that was not recorded would make the others look fast.
  const complete = row?.['n'] === limits.count;
  const of = (name: string) => (complete ? Number(row?.[name]) : Number.NaN);
  if (limits.p50 !== undefined) note(`${what}, p50`, of('p50'), { atMost: limits.p50, unit: 's' });
  note(`${what}, p99`, of('p99'), { atMost: limits.p99, unit: 's' });
}

async function reach(bench: ReaperBench, text: string, parameters: unknown[]): Promise<void> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const [row] = await bench.sql(text, parameters);
    if (row?.['done'] === true) return;
    if (performance.now() > until) throw new Error(`not within ${patienceMs / 1000} s: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}
