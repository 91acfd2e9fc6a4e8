import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { startChild } from './children.ts';
import { compareCallers } from './compare.ts';
import { type Cost, costOf, type Sample } from './database.ts';
import { type BenchTask, type Installation, openTasks, startInstallation } from './installation.ts';
import { type LoadResult, load } from './load.ts';

/** `npm run bench`: JSON on standard output, progress on standard error. Numbers are for comparing within one run. */
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '15' },
    tasks: { type: 'string', default: '500' },
    'cloud-latency': { type: 'string', default: '0' },
  },
});
const seconds = Number.parseInt(values.seconds, 10);
const warmUpSeconds = 3;
const workloads = 50;
const connectionCounts = [32, 64] as const;
/** Enough that one more or less does not show in the second decimal. */
const probeExchanges = 300;
/** Assertions signed ahead for one run: above what one event loop can answer. */
const answersPerSecondMax = 2_500;
const ceilingBodies = 5_000;
/** Ten runs of callers and their plain neighbours; longer tells no more. */
const compareSecondsMax = 8;

const tools = {
  toolToken: { tool: 'report.post', identifier: 'https://reports.example/2026q3/report' },
  aws: { tool: 's3.read', identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf' },
} as const;
type Tool = keyof typeof tools;

const say = (line: string) => console.error(line);

function bodies(installation: Installation, tasks: readonly BenchTask[], kind: Tool, count: number) {
  say(`  signing ${count} assertions`);
  const made = Array.from({ length: count }, (_, index) => {
    const task = tasks[index % tasks.length];
    const detail = { type: 'mayfly_tool_call', task: task?.id, ...tools[kind] };
    return new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      subject_token: installation.assertions.make(task?.subject ?? ''),
      authorization_details: JSON.stringify([detail]),
    }).toString();
  });
  return () => made.pop();
}

async function run(
  installation: Installation,
  next: () => string | undefined,
  options: { connections: number; seconds: number; requestsMax?: number },
): Promise<LoadResult> {
  const result = await load({ origin: installation.origin, path: '/token', next, ...options });
  installation.answers += result.answers;
  if (result.refused > 0) say(`  ${result.refused} refused, the first: ${result.firstRefusal}`);
  return result;
}

/** One after another, so that nothing is batched: statements and WAL of a single exchange. */
async function probe(
  installation: Installation,
  tasks: readonly BenchTask[],
  kind: Tool,
): Promise<{ cost: Cost; idlePerMs: number; last: Sample }> {
  const { database } = installation;
  // Each task once before: base sessions are made, prepared statements and caches are warm.
  await run(installation, bodies(installation, tasks, kind, tasks.length), { connections: 8, seconds: 300 });
  const idle = await database.sample();
  const from = await database.sample();
  const idlePerMs = (from.statements - idle.statements) / (from.atMs - idle.atMs);
  const next = bodies(installation, tasks, kind, probeExchanges);
  const { answers } = await run(installation, next, { connections: 1, seconds: 60 });
  const last = await database.sample();
  return { cost: costOf(from, last, { exchanges: answers, idlePerMs }), idlePerMs, last };
}

async function measure(installation: Installation, tasks: readonly BenchTask[], kind: Tool) {
  say(`${kind}: cost of one exchange`);
  const { cost: single, idlePerMs, last } = await probe(installation, tasks, kind);
  let from = last;
  const underLoad: (LoadResult & { cost: Cost })[] = [];
  for (const connections of connectionCounts) {
    const next = bodies(installation, tasks, kind, (seconds + warmUpSeconds) * answersPerSecondMax);
    const warmUp = await run(installation, next, { connections, seconds: warmUpSeconds });
    say(`${kind}: ${seconds} s at ${connections} connections`);
    const result = await run(installation, next, { connections, seconds });
    say(`  ${result.perSecond}/s, p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`);
    const to = await installation.database.sample();
    const cost = costOf(from, to, { exchanges: warmUp.answers + result.answers, idlePerMs });
    underLoad.push({ ...result, cost });
    from = to;
  }
  return { single, underLoad };
}

/** The best that one event loop does with the same cryptography: no database, no policy, no log. */
async function ceiling(installation: Installation, tasks: readonly BenchTask[]): Promise<LoadResult[]> {
  const script = new URL('ceiling.ts', import.meta.url).pathname;
  const child = await startChild(script, [installation.jwksFile, installation.origin]);
  const results: LoadResult[] = [];
  for (const connections of connectionCounts) {
    // It looks at no jti, so that the same assertions can go round.
    const made = bodies(installation, tasks, 'toolToken', ceilingBodies);
    const list = Array.from({ length: ceilingBodies }, () => made() ?? '');
    let at = 0;
    const next = () => {
      at += 1;
      return list[at % list.length];
    };
    const target = { origin: child.said, path: '/token', connections, next };
    await load({ ...target, seconds: warmUpSeconds });
    say(`ceiling: ${seconds} s at ${connections} connections`);
    results.push(await load({ ...target, seconds }));
  }
  await child.stop();
  return results;
}

/** Answers = issuances = replay keys = audit rows = budget units, or the numbers above are worth nothing. */
async function reconcile({ database, answers }: Installation, opened: number) {
  const row = await database.one(`select
    (select count(*) from issuance i where i.decision = 'allow' and i.purpose = 'agent')::int as issuances,
    (select count(*) from replay)::int as "replayKeys",
    (select count(*) from audit_entry where type = 'exchange.intended')::int as "auditIntended",
    (select count(*) from audit_entry where type = 'exchange.delivered')::int as "auditDelivered",
    (select sum(uses) from task_grant)::int as "budgetUnits"`);
  const numbers = { ...row, replayKeys: Number(row['replayKeys']) - opened };
  const agree = Object.values(numbers).every((one) => one === answers);
  return { agree, answers, ...numbers };
}

const installation = await startInstallation({
  cloudLatencyMs: Number.parseInt(values['cloud-latency'], 10),
});
try {
  say('opening tasks');
  const tasks = await openTasks(installation, { tasks: Number.parseInt(values.tasks, 10), workloads });
  const toolToken = await measure(installation, tasks, 'toolToken');
  const aws = await measure(installation, tasks, 'aws');
  const best = await ceiling(installation, tasks);
  const counts = await reconcile(installation, tasks.length);
  const callers = await compareCallers(installation, {
    seconds: Math.min(seconds, compareSecondsMax),
    connections: connectionCounts[0],
    plain: (count) => bodies(installation, tasks, 'toolToken', count),
    say,
  });
  const ratios = connectionCounts.map((connections, index) => ({
    connections,
    toolTokenOfCeiling:
      Math.round(
        (100 * (toolToken.underLoad[index]?.perSecond ?? 0)) / (best[index]?.perSecond ?? Number.NaN),
      ) / 100,
  }));
  const machine = {
    cores: cpus().length,
    cpu: cpus()[0]?.model ?? 'unknown',
    node: process.versions.node,
    postgres: await installation.database.settings(),
    shared: 'broker, PostgreSQL, stand-in AWS and generator on the same cores',
    cedar: 'not built yet: no policy is evaluated beside the template',
    assertions: 'a fresh ES256 assertion per exchange, used once',
    cloudLatencyMs: Number.parseInt(values['cloud-latency'], 10),
  };
  console.log(JSON.stringify({ machine, toolToken, aws, ceiling: best, ratios, callers, counts }, null, 2));
  if (!counts.agree) {
    say('answers, issuances, replay keys, audit rows and budget units do not agree');
    process.exitCode = 1;
  }
} finally {
  await installation.stop();
}
