import { describe, expect, test } from '@jest/globals';
import {
  type CloudFault,
  coreWorld,
  deliveredOf,
  eventsOf,
  lostAnswer,
  posting,
  reading,
  reasonOf,
  type World,
} from '@mayfly/testkit';

function issuances({ store }: World) {
  return [...store.rows.issuances.values()].map(({ decision, record }) => [decision, record.reason]);
}

function workStates({ store }: World) {
  return [...store.rows.work.values()].filter(({ kind }) => kind === 'issuance').map(({ state }) => state);
}

/** Everything that was left is brought to its end: as much time passes as it takes, and the reaper runs. */
async function reapAll(world: World) {
  for (let pass = 0; pass < 20 && workStates(world).length > 0; pass += 1) {
    world.clock.advance(30);
    await world.reap();
  }
  return workStates(world);
}

describe('the intent of a cloud credential', () => {
  test('that was not committed: nothing is minted, the refusal is recorded, nothing is left', async () => {
    const world = coreWorld();
    world.trace.failNext('ledger.intend', lostAnswer(false));
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('database_unavailable');
    expect(world.cloud.minted).toEqual([]);
    expect(eventsOf(world)).toEqual(['exchange.refused']);
    expect(issuances(world)).toEqual([['deny', 'database_unavailable']]);
    expect(workStates(world)).toEqual([]);
  });

  test('whose answer was lost: nothing is minted, no refusal stands over it, the reaper ends it', async () => {
    const world = coreWorld();
    world.trace.failNext('ledger.intend', lostAnswer(true));
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('database_unavailable');
    expect(world.cloud.minted).toEqual([]);
    expect(eventsOf(world)).toEqual(['task.opened', 'exchange.intended']);
    expect(issuances(world)).toEqual([['allow', null]]);
    expect(workStates(world)).toEqual(['intended']);
    expect(await reapAll(world)).toEqual([]);
  });
});

describe('the mint of a cloud credential', () => {
  const answers: readonly (readonly [CloudFault, string, number])[] = [
    ['refused', 'provider_refused', 0],
    ['not-applied', 'provider_unavailable', 0],
    ['applied', 'provider_unavailable', 1],
    ['lies', 'provider_refused', 1],
  ];

  test.each(answers)(
    'that is %s answers %s, and its intent goes to the reaper',
    async (fault, reason, minted) => {
      const world = coreWorld();
      world.cloud.failNext(fault);
      expect(reasonOf(await world.exchange({ detail: reading() }))).toBe(reason);
      expect(world.cloud.minted).toHaveLength(minted);
      expect(eventsOf(world)).toEqual(['task.opened', 'exchange.intended']);
      expect(workStates(world)).toEqual(['intended']);
      expect(await reapAll(world)).toEqual([]);
    },
  );

  test('that hangs ends at the mint deadline', async () => {
    const world = coreWorld();
    world.cloud.failNext('hangs');
    const hanging = world.cloud.hanging;
    const answer = world.exchange({ detail: reading() });
    await hanging;
    world.passMintDeadline();
    expect(reasonOf(await answer)).toBe('provider_unavailable');
    expect(workStates(world)).toEqual(['intended']);
  });

  test('is not tried once the mint deadline has passed', async () => {
    const world = coreWorld({ minter: { base: true } });
    world.trace.beforeNext('minter.mint', () => world.passMintDeadline());
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('provider_unavailable');
    expect(world.trace.count('minter.mint')).toBe(1);
    expect(world.cloud.minted.map(({ purpose }) => purpose)).toEqual(['base']);
  });

  test('that throws something unknown is an internal Fault, and its intent goes to the reaper', async () => {
    const world = coreWorld();
    world.trace.failNext('minter.mint', { applied: true, error: new TypeError('no such field') });
    const answer = await world.exchange({ detail: reading() });
    expect(answer).toMatchObject({ kind: 'refused', error: { name: 'Fault', reason: 'internal' } });
    expect(eventsOf(world)).toEqual(['task.opened', 'exchange.intended']);
    expect(workStates(world)).toEqual(['intended']);
  });

  test('of which a minted but undelivered credential is deleted where deletion hits it alone', async () => {
    const world = coreWorld({ minter: { ends: 'deleted' } });
    world.cloud.failNext('applied');
    await world.exchange({ detail: reading() });
    const [credential] = world.cloud.minted;
    world.clock.advance(59);
    expect(await world.reap()).toMatchObject({ ended: 0 });
    world.clock.advance(1);
    await world.reap();
    expect(world.cloud.deleted).toEqual(new Set([credential?.issuanceId]));
    expect(world.store.rows.endsOf(credential?.issuanceId ?? '')).toMatchObject([{ method: 'deleted' }]);
  });
});

describe('the delivery of a cloud credential', () => {
  test.each([false, true])('whose answer was lost (applied: %s) answers nothing', async (applied) => {
    const world = coreWorld();
    world.trace.failNext('ledger.deliver', lostAnswer(applied));
    const answer = await world.exchange({ detail: reading() });
    expect(reasonOf(answer)).toBe('database_unavailable');
    expect(JSON.stringify(answer)).not.toContain('secret-of');
    expect(workStates(world)).toEqual([applied ? 'delivered' : 'intended']);
    expect(issuances(world)).toEqual([['allow', null]]);
    expect(await reapAll(world)).toEqual([]);
  });

  test('after the reap deadline is withheld (invariant I2)', async () => {
    const world = coreWorld();
    world.trace.beforeNext('ledger.deliver', () => world.clock.advance(60));
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('not_delivered');
    expect(eventsOf(world)).toEqual(['task.opened', 'exchange.intended']);
  });

  test('of a task that ended meanwhile is withheld, and taken back', async () => {
    const world = coreWorld({ minter: { ends: 'deleted' } });
    world.trace.beforeNext('ledger.deliver', async () => {
      const [row] = world.store.rows.tasks.values();
      const id = row?.task.id ?? '';
      const at = { id: world.newId(), at: world.clock.now(), actor: 'agents/reconciler' };
      const audit = { ...at, type: 'task.ended', taskId: id, issuanceId: null, body: {} };
      await world.ports.tasks.end(id, { state: 'completed', reason: 'done', audit });
    });
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('not_delivered');
    expect(workStates(world)).toEqual(['reaped']);
    await world.reap();
    const [credential] = world.cloud.minted;
    expect(credential && world.cloud.accepts(credential, world.clock.now())).toBe(false);
  });
});

describe('a tool token', () => {
  test.each([false, true])('whose commit was lost (applied: %s) is not answered', async (applied) => {
    const world = coreWorld();
    world.trace.failNext('ledger.issueLocal', lostAnswer(applied));
    const answer = await world.exchange({ detail: posting() });
    expect(reasonOf(answer)).toBe('database_unavailable');
    expect(JSON.stringify(answer)).not.toContain('signed-');
    expect(issuances(world)).toEqual(applied ? [['allow', null]] : [['deny', 'database_unavailable']]);
    expect(workStates(world)).toEqual([]);
  });

  test('that cannot be signed leaves one refusal and no task', async () => {
    const world = coreWorld();
    world.trace.failNext('minter.mint', { applied: false, error: new RangeError('no key') });
    const answer = await world.exchange({ detail: posting() });
    expect(answer).toMatchObject({ error: { name: 'Fault', reason: 'internal' } });
    expect(eventsOf(world)).toEqual(['exchange.refused']);
    expect(world.store.rows.tasks.size).toBe(0);
  });
});

describe('the task token of an opening', () => {
  test.each([
    ['cloud credential', reading()],
    ['tool token', posting()],
  ])('that cannot be signed after the commit of a %s adds no refusal to it', async (_, detail) => {
    const world = coreWorld();
    world.trace.failNext('taskTokens.sign', { applied: false, error: new RangeError('no key') });
    expect(reasonOf(await world.exchange({ detail }))).toBe('internal');
    expect(eventsOf(world)).toEqual(['task.opened', 'exchange.intended', 'exchange.delivered']);
    expect(world.trace.count('ledger.refuse')).toBe(0);
    expect(world.reports).toEqual([]);
  });
});

describe('reads', () => {
  test.each([
    ['tasks.findByRef', 'database_unavailable'],
    ['tasks.find', 'database_unavailable'],
  ])('a failing %s is a Fault, recorded once, and nothing else happens', async (call, reason) => {
    const world = coreWorld();
    const detail = call === 'tasks.find' ? reading({ task: world.newId() }) : reading();
    world.trace.failNext(call, lostAnswer(false));
    expect(reasonOf(await world.exchange({ detail }))).toBe(reason);
    expect(eventsOf(world)).toEqual(['exchange.refused']);
    expect(world.cloud.minted).toEqual([]);
  });

  test('a refusal that cannot be recorded is still a refusal, and is reported without a secret', async () => {
    const world = coreWorld();
    world.trace.failNext('ledger.refuse', lostAnswer(false));
    expect(reasonOf(await world.exchange({ detail: reading({ tool: 'unknown.tool' }) }))).toBe(
      'tool_not_granted',
    );
    expect(world.reports).toMatchObject([{ context: { reason: 'tool_not_granted' } }]);
    expect(JSON.stringify(world.reports)).not.toContain('reconciler:1');
  });

  test('issuer’s keys that cannot be had are a Fault before a workload is known', async () => {
    const world = coreWorld();
    world.issuerDown();
    const answer = await world.exchange({ detail: reading() });
    expect(answer).toMatchObject({
      issuanceId: null,
      error: { name: 'Fault', reason: 'issuer_unavailable' },
    });
    expect(world.trace.calls).toEqual(['unattested.append']);
  });
});

test('whatever fails once, the next exchange with a fresh assertion is answered', async () => {
  for (const call of ['ledger.intend', 'minter.mint', 'ledger.deliver', 'tasks.findByRef']) {
    const world = coreWorld();
    world.trace.failNext(call, lostAnswer(false));
    await world.exchange({ detail: reading() });
    const subject = { kind: 'assertion' as const, token: 'reconciler:2' };
    deliveredOf(await world.exchange({ subject, detail: reading() }));
  }
});
