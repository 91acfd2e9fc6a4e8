import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reaperPass, watchDenials } from '@mayfly/broker';
import { bareId, formatId } from '@mayfly/protocol';
import { eventType, startTransmitter, type TestTransmitter } from '../e2e/transmitter.ts';
import { accessTokenType, form, freePort, opening, startWorld, type World } from '../e2e/world.ts';
import { invariants } from './invariants.ts';
import { Lines } from './lines.ts';

/**
 * The real broker process is killed before and after each effect of exchange and end. A second broker on the same
 * database, whose reaper runs only when it is told, then finishes the work; afterwards the invariants are asked of
 * the tables and of the cloud's own ledger. The effects come from the ports: one without a case here fails.
 */
let survivor: World;
let transmitter: TestTransmitter;
let childSettings: Record<string, unknown>;
let counter = 0;

type Scenario = (child: Child) => Promise<void>;

const exchange: Scenario = async (child) => {
  await child.post('/token', form(await survivor.workload(), opening(child.ref)));
};
const tool: Scenario = async (child) => {
  const taskToken = await child.open();
  const detail = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };
  await child.post('/token', form(taskToken, detail, { subject_token_type: accessTokenType }));
};
const refusal: Scenario = async (child) => {
  await child.post(
    '/token',
    form(await child.open(), { tool: 'mail.send' }, { subject_token_type: accessTokenType }),
  );
};
const signal: Scenario = async (child) => {
  const taskToken = await child.open({ withCredential: true });
  await child.json(`/v1/tasks/${child.task}/signals`, { verdict: 'suspended', note: 'kill' }, taskToken);
};
const anonymous: Scenario = async (child) => {
  await child.post('/token', { grant_type: 'password' });
};
const revoke: Scenario = async (child) => {
  const taskToken = await child.open({ withCredential: true });
  const [issued] = await survivor.sql<{ id: string }>(
    `select id from issuance where decision = 'allow' and purpose = 'agent' order by seq desc limit 1`,
  );
  await child.post('/revoke', { token: `isn_${bareId(issued?.id ?? '')}` }, taskToken);
};
const openTask: Scenario = async (child) => {
  await child.open();
};
const openAgain: Scenario = async (child) => {
  await child.open();
  await child.open();
};
const task =
  (verb: string, asPerson = false): Scenario =>
  async (child) => {
    const taskToken = await child.open({ withCredential: true });
    const bearer = asPerson ? await survivor.person() : taskToken;
    if (verb === 'resume')
      await survivor.api('POST', `/v1/tasks/${child.task}/suspend`, { bearer, json: {} });
    await child.api(`/v1/tasks/${child.task}/${verb}`, bearer);
  };
const revokeGrant: Scenario = async (child) => {
  await child.open({ withCredential: true });
  const [grant] = await survivor.sql<{ id: string }>(
    `select id from task_grant where tool = 's3.read' and state = 'active' order by id desc limit 1`,
  );
  await child.api(`/v1/grants/${formatId('grt', grant?.id ?? '')}/revoke`, await survivor.person());
};
const event: Scenario = async (child) => {
  await child.open({ withCredential: true });
  await child.event(await transmitter.set(survivor, { subject: 'reconciler' }));
  // The cases after it are of the same subject.
  await survivor.sql('delete from subject_cut');
};
const revokeAll: Scenario = async (child) => {
  await child.open({ withCredential: true });
  await child.json(
    '/v1/revocations',
    { template: 'invoice-reconcile', reason: 'kill' },
    await survivor.person(),
  );
};
const change: Scenario = async (child) => {
  await child.open({ withCredential: true });
  await survivor.sql(`update task set ends_on_change = true where state = 'open'`);
  await survivor.sql('update config_epoch set epoch = epoch + 1');
};
const lapse: Scenario = async (child) => {
  await child.open({ withCredential: true });
  await survivor.sql(
    'update task set lease_until = now() where id = (select id from task order by id desc limit 1)',
  );
  await survivor.sql(`update work set due_at = now() where kind = 'task'`);
};
const unfinished: Scenario = async (child) => {
  survivor.clouds.aws.faults.arm({ action: 'GetScopedCredentials', mode: 'refuse' });
  await child.post('/token', form(await survivor.workload(), opening(child.ref)));
  await survivor.sql(`update work set due_at = now() where kind = 'issuance'`);
};
const foreignDeny: Scenario = async (child) => {
  await task('end')(child);
  await settle();
  await survivor.sql(`update deny_document set read_at = now() - interval '1 hour'`);
};

const refusedDeny: Scenario = async (child) => {
  survivor.clouds.aws.faults.arm({
    action: 'PutRolePolicy',
    mode: 'refuse',
    status: 403,
    code: 'AccessDenied',
  });
  await task('end')(child);
};

const fullDeny: Scenario = async (child) => {
  survivor.clouds.aws.faults.arm({
    action: 'PutRolePolicy',
    mode: 'refuse',
    status: 409,
    code: 'LimitExceededException',
  });
  await task('end')(child);
};

/** How each effect is reached. */
const cases: Readonly<Record<string, Scenario>> = {
  'ledger.intend': exchange,
  'ledger.issueLocal': tool,
  'ledger.deliver': exchange,
  'ledger.refuse': refusal,
  'ledger.append': anonymous,
  'ledger.signal': signal,
  'ledger.revoke': revoke,
  'tasks.open': openTask,
  'tasks.use': openAgain,
  'tasks.heartbeat': task('heartbeat'),
  'tasks.end': task('end'),
  'tasks.endMany': revokeAll,
  'tasks.suspend': task('suspend', true),
  'tasks.resume': task('resume', true),
  'tasks.endGrant': revokeGrant,
  'revocations.request': revokeAll,
  'revocations.receive': event,
  'revocations.claim': revokeAll,
  'revocations.settle': revokeAll,
  'revocations.claimReview': change,
  'revocations.settleReview': change,
  'queue.claim': task('end'),
  'queue.settle': task('end'),
  'queue.postpone': unfinished,
  'queue.taskDue': lapse,
  'deny.request': task('end'),
  'deny.acknowledge': task('end'),
  'deny.release': refusedDeny,
  'deny.due': openTask,
  'deny.observed': foreignDeny,
  'deny.proven': task('end'),
  'minter.aws.mint': exchange,
  'minter.aws.revoke': task('end'),
  'minter.aws.watch': openTask,
  'minter.token.mint': tool,
  // Last: it denies what the role issued until half a minute from now.
  'deny.told': fullDeny,
};
/** Effects that this version never has: a tool token ends in the database, so nothing asks its minter to. */
const unreachable = ['minter.token.revoke'];
/** They read only. */
const reads = [
  'tasks.find',
  'tasks.findByRef',
  'tasks.findByGrant',
  'tasks.ending',
  'revocations.measure',
  'revocations.tasksOf',
  'revocations.settled',
  'revocations.isCut',
  'revocations.find',
  'queue.lanes',
  'deny.untold',
  'deny.unproven',
];
const pure = ['plan', 'base', 'inspect'];

interface Child {
  readonly ref: string;
  task: string;
  readonly methods: readonly string[];
  /** Requests whose answer may never come. */
  post(path: string, body: Record<string, string>, bearer?: string): Promise<void>;
  api(path: string, bearer: string): Promise<void>;
  json(path: string, body: Record<string, string>, bearer: string): Promise<void>;
  event(set: string): Promise<void>;
  open(options?: { withCredential?: boolean }): Promise<string>;
  arm(barrier: string): Promise<void>;
  /** Resolves when the barrier is reached. */
  reached(): Promise<void>;
  kill(): Promise<void>;
}

beforeAll(async () => {
  transmitter = await startTransmitter({ endsPerMinute: 1_000 });
  survivor = await startWorld({
    edit: transmitter.edit,
    settings: { reapInterval: '1h', refusalRowsPerSecond: 1000 },
  });
  const keyFile = join(survivor.dataDir, 'key-encryption-key');
  const [port, ops] = [await freePort(), await freePort()];
  childSettings = {
    databaseUrl: survivor.running.databaseUrls.app,
    keyEncryptionKey: keyFile,
    // Both speak as one issuer, whose keys the clouds fetch from the survivor.
    issuer: survivor.url,
    listen: `127.0.0.1:${port}`,
    opsListen: `127.0.0.1:${ops}`,
    allowLoopbackIssuers: [survivor.file.workloads, survivor.file.people],
    databaseConnections: 4,
    reapInterval: '50ms',
  };
}, 60_000);

afterAll(async () => {
  await survivor.stop();
  transmitter.close();
});

async function startChild(): Promise<Child> {
  counter += 1;
  const logFile = join(survivor.dataDir, `child-${counter}.log`);
  const script = fileURLToPath(new URL('./child.ts', import.meta.url));
  const env = {
    PATH: process.env['PATH'] ?? '',
    KILL_CHILD: JSON.stringify({ settings: childSettings, logFile }),
  };
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = new Lines(child);
  const methods = JSON.parse((await lines.next('READY')).slice(6)) as string[];
  const base = `http://${childSettings['listen']}`;
  const send = async (path: string, init: RequestInit) => {
    // Cut by the kill: no answer is an answer here.
    await fetch(`${base}${path}`, init)
      .then((answer) => answer.text())
      .catch(() => undefined);
  };
  const handle: Child = {
    ref: `kill-${counter}`,
    task: '',
    methods,
    post: (path, body, bearer) =>
      send(path, {
        method: 'POST',
        body: new URLSearchParams(body),
        ...(bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } }),
      }),
    api: (path, bearer) => send(path, { method: 'POST', headers: { authorization: `Bearer ${bearer}` } }),
    json: (path, body, bearer) =>
      send(path, {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      }),
    event: (body) => send('/v1/events', { method: 'POST', body, headers: { 'content-type': eventType } }),
    open: async ({ withCredential = false } = {}) => {
      const body = JSON.stringify({
        template: 'invoice-reconcile',
        params: { quarter: '2026q3' },
        ref: `kill-${counter}`,
      });
      const headers = {
        authorization: `Bearer ${await survivor.workload()}`,
        'content-type': 'application/json',
      };
      const answer: unknown = await fetch(`${base}/v1/tasks`, { method: 'POST', body, headers })
        .then((one) => one.json())
        .catch(() => ({}));
      handle.task = String(Reflect.get(Object(answer), 'id') ?? '');
      const taskToken = String(Reflect.get(Object(answer), 'taskToken') ?? '');
      if (withCredential)
        await send('/token', {
          method: 'POST',
          body: new URLSearchParams(form(taskToken, {}, { subject_token_type: accessTokenType })),
        });
      return taskToken;
    },
    arm: async (barrier) => {
      child.stdin.write(`${barrier}\n`);
      await lines.next('ARMED');
    },
    reached: async () => {
      await lines.next('AT');
    },
    kill: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
  return handle;
}

/** Everything that is due, until nothing more can be done before its time. */
async function settle(): Promise<void> {
  const { broker } = survivor.running;
  await survivor.sql(`update deny_document set writer_until = null`);
  await survivor.sql('update revocation set due_at = now()');
  for (let pass = 0; pass < 20; pass += 1) {
    // What the last transaction of the killed one still holds is left for the next pass.
    await survivor.sql(
      `update work set due_at = now() where id in (select id from work
        where state in ('intended', 'revoking') or (state = 'reaped' and attempts = 0)
        order by id for update skip locked)`,
    );
    await reaperPass(broker);
    const [row] = await survivor.sql<{ n: string }>(
      `select count(*) n from work where state in ('intended', 'revoking') or (state = 'reaped' and attempts = 0)`,
    );
    if (row?.n === '0') break;
  }
  await watchDenials(broker, 0);
}

test('every effect of the ports has a kill case', async () => {
  const child = await startChild();
  await child.kill();
  const known = new Set([...Object.keys(cases), ...reads, ...unreachable]);
  const effects = child.methods.filter(
    (name) => !(name.startsWith('minter.') && pure.some((one) => name.endsWith(`.${one}`))),
  );
  expect(effects.filter((name) => !known.has(name))).toEqual([]);
  expect(Object.keys(cases).filter((name) => !child.methods.includes(name))).toEqual([]);
}, 60_000);

/** A first exchange intends, mints and delivers twice: for the agent, and within that for the base session. */
const twice = ['ledger.intend', 'ledger.deliver', 'minter.aws.mint'];
const matrix = Object.keys(cases).flatMap((name) =>
  ['before', 'after'].flatMap((side) =>
    (twice.includes(name) ? [1, 2] : [1]).map((nth) => [name, side, nth] as const),
  ),
);

test.each(matrix)(
  'killed at %s, %s, call %i: nothing lives that should not',
  async (name, side, nth) => {
    const child = await startChild();
    try {
      await child.arm(`${name} ${side} ${nth}`);
      const running = cases[name]?.(child);
      await child.reached();
      await child.kill();
      await running;
    } finally {
      await child.kill(); // A barrier that was not reached must not leave its process to the next case.
    }
    await settle();
    expect(await invariants(survivor)).toEqual([]);
    // Whatever is still open can be ended by the survivor, and then nothing is left but what waits for its time.
    const tasks = await survivor.sql<{ id: string }>(
      `select id from task where state in ('open', 'suspended')`,
    );
    const operator = await survivor.person();
    for (const { id } of tasks)
      await survivor.api('POST', `/v1/tasks/${id}/end`, { bearer: operator, json: { outcome: 'cancelled' } });
    await settle();
    expect(await invariants(survivor)).toEqual([]);
    expect(await survivor.sql('select id from revocation where done_at is null')).toEqual([]);
    const left = await survivor.sql(`select state from work where kind = 'task' or state <> 'reaped'`);
    expect(left).toEqual([]);
  },
  30_000,
);
