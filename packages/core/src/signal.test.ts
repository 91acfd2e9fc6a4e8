import { describe, expect, test } from '@jest/globals';
import type { SignalBody } from '@mayfly/protocol';
import { coreWorld, issuerUrl, onlyTask, pattern, reading, reasonOf, type World } from '@mayfly/testkit';
import { type DeviationRules, noDeviationRules } from './deviation.ts';
import { isSource, signalTask } from './signal.ts';

const proxy = { name: 'agents/proxy', isOwner: false };
const outside: SignalBody = { tool: 's3.read', identifier: 'arn:aws:s3:::payroll/a' };
const inside: SignalBody = {
  tool: 's3.read',
  identifier: 'arn:aws:s3:::invoices/2026q3/b.pdf',
  actions: ['read'],
};
const says = (verdict: 'ok' | 'suspended' | 'deviation'): SignalBody => ({
  verdict,
  note: 'seen in the log',
});

async function opened(deviation: Partial<DeviationRules> = {}): Promise<World> {
  const world = coreWorld({ template: { deviation: { ...noDeviationRules, ...deviation } } });
  expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
  return world;
}

async function signal(world: World, body: SignalBody, source = proxy) {
  const found = await world.ports.tasks.find(onlyTask(world).task.id, { fresh: true });
  if (found === undefined) throw new Error('no task');
  return signalTask(found, { signal: body, source }, world.ports);
}

const events = (world: World, type: string) => world.store.rows.audit.filter((row) => row.type === type);

describe('a call of a tool', () => {
  test('inside the grants is recorded and may go on', async () => {
    const world = await opened({ useOutsideGrant: 'end' });
    expect(await signal(world, inside)).toMatchObject({
      verdict: 'ok',
      act: null,
      status: { state: 'open' },
    });
    expect(events(world, 'task.signalled')).toMatchObject([
      {
        actor: 'agents/proxy',
        taskId: onlyTask(world).task.id,
        body: { ...inside, verdict: 'ok', byOwner: false },
      },
    ]);
    expect(events(world, 'task.deviated')).toEqual([]);
  });

  test.each([
    ['another resource', outside],
    ['another tool', { tool: 'mail.send', identifier: 'arn:aws:s3:::invoices/2026q3/a' }],
    ['another action', { ...inside, actions: ['delete'] }],
  ] as const)(
    'on or with %s is a use outside the grant: the task ends, the signal is the evidence',
    async (_, body) => {
      const world = await opened({ useOutsideGrant: 'end', quarantineSeconds: 900 });
      expect(await signal(world, body as SignalBody)).toMatchObject({
        verdict: 'deviation',
        act: 'end',
        status: { state: 'deviated' },
      });
      const [evidence] = events(world, 'task.signalled');
      expect(events(world, 'task.deviated')).toMatchObject([
        {
          actor: 'agents/proxy',
          body: { act: 'end', evidence: [evidence?.id], quarantineSeconds: 900, rule: 'useOutsideGrant' },
        },
      ]);
      const again = await world.exchange({
        subject: { kind: 'assertion', token: 'reconciler:2' },
        detail: reading(),
      });
      expect(reasonOf(again)).toBe('task_ended');
    },
  );

  test('is noted where the template says nothing', async () => {
    const world = await opened();
    expect(await signal(world, outside)).toMatchObject({
      verdict: 'deviation',
      act: 'note',
      status: { state: 'open' },
    });
  });
});

describe('an observation', () => {
  test.each([
    ['ok', null, 'ok', 'open'],
    ['suspended', 'suspend', 'suspended', 'suspended'],
    ['deviation', 'end', 'deviation', 'deviated'],
  ] as const)('that says %s', async (verdict, act, answer, state) => {
    const world = await opened({ useOutsideGrant: 'end' });
    expect(await signal(world, says(verdict))).toMatchObject({ verdict: answer, act, status: { state } });
  });

  test('a suspension that was asked for sets nobody apart', async () => {
    const world = await opened({ useOutsideGrant: 'end', quarantineSeconds: 900 });
    await signal(world, says('suspended'));
    expect(world.store.rows.quarantines.size).toBe(0);
  });

  test('that all is well does not resume a suspended task', async () => {
    const world = await opened();
    await signal(world, says('suspended'));
    expect(await signal(world, says('ok'))).toMatchObject({ verdict: 'suspended', act: null });
  });

  test('of a task that has ended is refused, and nothing is recorded', async () => {
    const world = await opened({ useOutsideGrant: 'end' });
    await signal(world, says('deviation'));
    await expect(signal(world, says('ok'))).rejects.toMatchObject({ reason: 'task_ended' });
    expect(events(world, 'task.signalled')).toHaveLength(1);
  });

  test('of the owner tightens too, and is told from that of a source', async () => {
    const world = await opened({ useOutsideGrant: 'suspend' });
    const owner = { name: 'agents/reconciler', isOwner: true };
    expect(await signal(world, says('deviation'), owner)).toMatchObject({ act: 'suspend' });
    expect(events(world, 'task.signalled')).toMatchObject([{ body: { byOwner: true } }]);
  });
});

test('a source is whom the version in force names; not before, not after, and not another subject', async () => {
  const world = await opened();
  const { task } = onlyTask(world);
  const named = (subject: string) => ({
    issuer: issuerUrl,
    issuerName: 'agents',
    subject,
    claims: { sub: subject },
  });
  const policy = () => world.ports.policies.refresh();
  expect(isSource(await policy(), task, named('proxy'))).toBe(false);
  const sources = [{ issuerName: 'agents', match: { sub: [pattern('proxy')] }, bind: [] }];
  const applied = world.documents.apply({ ...world.template, sources });
  expect(isSource(await policy(), task, named('proxy'))).toBe(true);
  expect(isSource(await policy(), task, named('reconciler'))).toBe(false);
  expect(isSource(await policy(), task, { ...named('proxy'), issuerName: 'other' })).toBe(false);
  world.documents.apply({ ...applied, mode: 'disabled' });
  expect(isSource(await policy(), task, named('proxy'))).toBe(false);
});
