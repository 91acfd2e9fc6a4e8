import { describe, expect, test } from '@jest/globals';
import { coreWorld, deliveredOf, eventsOf, onlyTask, posting, reading, reasonOf } from '@mayfly/testkit';

const effects = ['ledger.intend', 'ledger.issueLocal', 'minter.mint', 'ledger.deliver'];

describe('a credential of a cloud', () => {
  test('is minted only after its intent is committed, and answered only after its outcome is', async () => {
    const world = coreWorld();
    const answer = deliveredOf(await world.exchange({ detail: reading() }));
    expect(world.trace.only(...effects)).toEqual(['ledger.intend', 'minter.mint', 'ledger.deliver']);
    expect(answer.credential.reveal()).toBe('secret-of-FAKEKEY1');
    expect(eventsOf(world)).toEqual(['task.opened', 'exchange.intended', 'exchange.delivered']);
  });

  test('finds its intent in the database at the moment of the call (invariant I1)', async () => {
    const world = coreWorld();
    let seen: readonly string[] = [];
    world.trace.beforeNext('minter.mint', () => {
      seen = [...world.store.rows.work.values()].map(({ state }) => state);
    });
    await world.exchange({ detail: reading() });
    expect(seen).toContain('intended');
  });

  test('joins the ledger of the cloud to its one issuance (invariant I3)', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const [credential] = world.cloud.minted;
    const issuance = world.store.rows.issuances.get(credential?.issuanceId ?? '');
    expect(issuance?.record).toMatchObject({ purpose: 'agent', reason: null, tool: 's3.read' });
    expect(world.store.rows.deliveries.get(credential?.issuanceId ?? '')?.keyHash).toBe('hash-of-FAKEKEY1');
  });

  test('is answered with what was sent to the provider, not with what was asked', async () => {
    const world = coreWorld();
    const answer = deliveredOf(await world.exchange({ detail: reading({ actions: ['read'], ttl: 45 }) }));
    expect(answer).toMatchObject({
      issuedTokenType: 'urn:mayfly:token-type:fake',
      tokenType: 'N_A',
      granted: {
        tool: 's3.read',
        identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
        actions: ['read'],
        ttl: 45,
      },
      issuance: {
        expires_at: '2026-07-01T12:00:45.000Z',
        limited_by: 'ttl',
        ends: { by: 'denied', worst_case_seconds: 44, typical_seconds: 4 },
        enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
      },
    });
  });

  test('a guaranteed end shortens the worst case, a typical one does not', async () => {
    const deleted = deliveredOf(
      await coreWorld({ minter: { ends: 'deleted' } }).exchange({ detail: reading() }),
    );
    expect(deleted.issuance.ends).toEqual({ by: 'deleted', worst_case_seconds: 5 });
    const expired = deliveredOf(
      await coreWorld({ minter: { ends: 'expired' } }).exchange({ detail: reading() }),
    );
    expect(expired.issuance.ends).toEqual({ by: 'expired', worst_case_seconds: 59 });
  });

  test('expires_in counts from the answer, not from the request', async () => {
    const world = coreWorld();
    world.trace.beforeNext('ledger.deliver', () => world.clock.advance(8));
    expect(deliveredOf(await world.exchange({ detail: reading() })).expiresInSeconds).toBe(51);
  });
});

describe('a tool token', () => {
  test('is signed in memory, then intended and delivered in one', async () => {
    const world = coreWorld();
    const answer = deliveredOf(await world.exchange({ detail: posting() }));
    expect(world.trace.only(...effects)).toEqual(['minter.mint', 'ledger.issueLocal']);
    expect(eventsOf(world)).toEqual(['task.opened', 'exchange.intended', 'exchange.delivered']);
    expect(answer.credential.reveal()).toBe(`signed-${answer.issuance.id}`);
    expect(world.store.rows.work.has(onlyTask(world).task.id)).toBe(true);
    expect(world.store.rows.work.size).toBe(1);
  });
});

describe('the task of an exchange', () => {
  test('is opened by the first, found by the next, and only the first answers a task token', async () => {
    const world = coreWorld();
    const first = deliveredOf(await world.exchange({ detail: reading() }));
    const second = deliveredOf(
      await world.exchange({ subject: { kind: 'assertion', token: 'reconciler:2' }, detail: posting() }),
    );
    expect(first.taskToken?.reveal()).toBe(`task-token:${onlyTask(world).task.id}`);
    expect(second.taskToken).toBeNull();
    expect(second.issuance.task).toBe(first.issuance.task);
  });

  test('is named by its id too', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const subject = { kind: 'assertion' as const, token: 'reconciler:2' };
    const detail = reading({ task: onlyTask(world).task.id });
    expect(reasonOf(await world.exchange({ subject, detail }))).toBe('delivered');
  });

  test('has its lease renewed by a delivery', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    world.clock.advance(30);
    await world.exchange({ subject: { kind: 'assertion', token: 'reconciler:2' }, detail: reading() });
    const { leaseUntil } = onlyTask(world);
    expect((leaseUntil.getTime() - world.clock.now().getTime()) / 1000).toBe(60);
  });
});

describe('a task token', () => {
  const opened = async () => {
    const world = coreWorld();
    const { taskToken } = deliveredOf(await world.exchange({ detail: reading() }));
    const subject = { kind: 'access-token' as const, token: taskToken?.reveal() ?? '' };
    return { world, subject };
  };

  test('speaks for its own task, named or not, as often as its grants allow', async () => {
    const { world, subject } = await opened();
    const { task: _, ...unnamed } = reading();
    expect(reasonOf(await world.exchange({ subject, detail: unnamed }))).toBe('delivered');
    const named = reading({ task: onlyTask(world).task.id });
    expect(reasonOf(await world.exchange({ subject, detail: named }))).toBe('delivered');
  });

  test('does not speak for another task of the same workload', async () => {
    const { world, subject } = await opened();
    const other = { template: 'invoice-reconcile', ref: 'run-2', params: { quarter: '2026q3' } };
    const token = { kind: 'assertion' as const, token: 'reconciler:2' };
    const second = deliveredOf(await world.exchange({ subject: token, detail: reading({ task: other }) }));
    const [, row] = world.store.rows.tasks.values();
    expect(second.issuance.task).not.toBe('');
    const answer = await world.exchange({ subject, detail: reading({ task: row?.task.id }) });
    expect(reasonOf(answer)).toBe('task_unknown');
  });

  test('opens no sibling task', async () => {
    const { world, subject } = await opened();
    expect(reasonOf(await world.exchange({ subject, detail: reading() }))).toBe('child_not_allowed');
  });

  test('of a task that is not there, and a token that is none, prove nothing', async () => {
    const { world } = await opened();
    for (const token of [`task-token:${world.newId()}`, 'reconciler:1']) {
      const answer = await world.exchange({ subject: { kind: 'access-token', token }, detail: reading() });
      expect(reasonOf(answer)).toBe('assertion_invalid');
    }
  });

  test('dies with its task', async () => {
    const { world, subject } = await opened();
    const { task } = onlyTask(world);
    const audit = { ...world.store.rows.audit[0], id: world.newId(), at: world.clock.now() };
    const event = { type: 'task.ended', actor: null, taskId: task.id, issuanceId: null, body: {} };
    await world.ports.tasks.end(task.id, {
      state: 'completed',
      reason: 'done',
      audit: { ...audit, ...event },
    });
    const { task: _, ...unnamed } = reading();
    expect(reasonOf(await world.exchange({ subject, detail: unnamed }))).toBe('task_ended');
  });
});

describe('audience names a grant', () => {
  const withGrant = async (resource: string) => {
    const { grants, ...rest } = coreWorld().template;
    const narrow = grants.map((grant) => ({ ...grant, resource }));
    const world = coreWorld({ template: { ...rest, grants: narrow.slice(0, 1) } });
    await world.exchange({ detail: reading() });
    const subject = { kind: 'assertion' as const, token: 'reconciler:2' };
    return { world, subject, grantId: onlyTask(world).task.grants[0]?.id ?? '' };
  };

  test('of exactly one resource: the whole grant is given', async () => {
    const { world, subject, grantId } = await withGrant('arn:aws:s3:::invoices/2026q3/a.pdf');
    const answer = deliveredOf(await world.exchange({ subject, grantId }));
    expect(answer.granted).toMatchObject({
      identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
      actions: ['read', 'list'],
    });
  });

  test('of many resources: refused, a request names one thing', async () => {
    const { world, subject, grantId } = await withGrant('arn:aws:s3:::invoices/2026q3/**');
    expect(reasonOf(await world.exchange({ subject, grantId }))).toBe('identifier_malformed');
  });

  test('that is not there, or of another workload: the same refusal', async () => {
    const { world, grantId } = await withGrant('arn:aws:s3:::invoices/2026q3/a.pdf');
    const foreign = { kind: 'assertion' as const, token: 'reconciler-two:1' };
    expect(reasonOf(await world.exchange({ subject: foreign, grantId }))).toBe('task_unknown');
    expect(reasonOf(await world.exchange({ subject: foreign, grantId: world.newId() }))).toBe('task_unknown');
  });

  test('a task token names grants of its own task only', async () => {
    const { world, grantId } = await withGrant('arn:aws:s3:::invoices/2026q3/a.pdf');
    const task = { template: 'invoice-reconcile', ref: 'run-2', params: { quarter: '2026q3' } };
    const token = { kind: 'assertion' as const, token: 'reconciler:3' };
    const other = deliveredOf(await world.exchange({ subject: token, detail: reading({ task }) }));
    const subject = { kind: 'access-token' as const, token: other.taskToken?.reveal() ?? '' };
    expect(reasonOf(await world.exchange({ subject, grantId }))).toBe('task_unknown');
  });

  test('gives the named grant, not a sibling that covers the same thing', async () => {
    const { grants, ...rest } = coreWorld().template;
    const [wide] = grants;
    if (wide === undefined) throw new Error('no grant');
    const one = 'arn:aws:s3:::invoices/2026q3/a.pdf';
    const narrow = { ...wide, name: 'read-one', resource: one, actions: ['read' as const] };
    const world = coreWorld({ template: { ...rest, grants: [wide, narrow] } });
    await world.exchange({ detail: reading() });
    const grantId = onlyTask(world).task.grants.find(({ name }) => name === 'read-one')?.id ?? '';
    const subject = { kind: 'assertion' as const, token: 'reconciler:2' };
    const answer = deliveredOf(await world.exchange({ subject, grantId }));
    expect(answer.granted).toMatchObject({ actions: ['read'] });
    expect(world.cloud.minted.at(-1)?.reach).toContain(grantId);
  });
});
