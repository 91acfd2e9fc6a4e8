import { describe, expect, test } from '@jest/globals';
import {
  coreWorld,
  deliveredOf,
  eventsOf,
  fakeTokenType,
  nothingPresented,
  onlyTask,
  posting,
  reading,
  reasonOf,
} from '@mayfly/testkit';
import { exchange } from './exchange.ts';

const by = (token: string) => ({ subject: { kind: 'assertion' as const, token } });

describe('an assertion', () => {
  test('that is used twice mints once (invariant I7)', async () => {
    const world = coreWorld();
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('assertion_replayed');
    expect(world.cloud.minted).toHaveLength(1);
  });

  test('of an issuer that says reuse is used as often as the grant allows', async () => {
    const world = coreWorld({ issuer: { replay: 'reuse' } });
    for (let count = 0; count < 3; count += 1)
      expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
  });

  test('is not used up by a refusal', async () => {
    const world = coreWorld();
    expect(reasonOf(await world.exchange({ detail: reading({ tool: 'unknown.tool' }) }))).toBe(
      'tool_not_granted',
    );
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('delivered');
  });

  test.each([
    ['of an issuer that is not registered', 'other/reconciler:1'],
    ['without a readable issuer', 'nonsense'],
    ['that the attestor refuses', 'reconciler:'],
  ])('%s proves nothing, and the refusal is counted before a workload is known', async (_, token) => {
    const world = coreWorld();
    const answer = await world.exchange({ ...by(token), detail: reading() });
    expect(answer).toMatchObject({ issuanceId: null, error: { reason: 'assertion_invalid' } });
    expect(world.trace.calls).toEqual(['unattested.append']);
    expect(world.store.rows.audit).toMatchObject([{ type: 'exchange.refused', actor: null, taskId: null }]);
    expect(world.store.rows.issuances.size).toBe(0);
  });

  test('of an issuer that the policy does not name is not shown to an attestor, even where one is left', async () => {
    const world = coreWorld();
    const left = world.ports.attestor(world.issuer.issuer);
    world.documents.publish({ issuers: new Map() });
    const rest = {
      ...{ grantId: null, requestedTokenType: null, targets: [] },
      ...{ idempotencyKey: null, requestId: 'r', actor: null, presented: nothingPresented },
    };
    const ports = { ...world.ports, attestor: () => left };
    const answer = await exchange({ ...by('reconciler:1'), ...rest, detail: reading() }, ports);
    expect(answer).toMatchObject({ issuanceId: null, error: { reason: 'assertion_invalid' } });
  });

  test('of an issuer that was removed proves nothing any more', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    world.documents.publish({ issuers: new Map() });
    await world.ports.policies.refresh();
    expect(reasonOf(await world.exchange({ ...by('reconciler:2'), detail: reading() }))).toBe(
      'assertion_invalid',
    );
  });
});

describe('an Idempotency-Key', () => {
  test('that comes again mints nothing and names the first issuance', async () => {
    const world = coreWorld();
    const first = deliveredOf(await world.exchange({ detail: reading(), idempotencyKey: 'k1' }));
    const second = await world.exchange({ ...by('reconciler:2'), detail: reading(), idempotencyKey: 'k1' });
    expect(second).toMatchObject({ error: { reason: 'already_issued', detail: first.issuance.id } });
    expect(world.cloud.minted).toHaveLength(1);
  });

  test('belongs to one workload', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading(), idempotencyKey: 'k1' });
    const other = await world.exchange({
      ...by('reconciler-two:2'),
      detail: reading(),
      idempotencyKey: 'k1',
    });
    expect(reasonOf(other)).toBe('delivered');
  });

  test('is free again a day later', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading(), idempotencyKey: 'k1' });
    world.clock.advance(86_401);
    const task = { template: 'invoice-reconcile', ref: 'run-2', params: { quarter: '2026q3' } };
    const later = await world.exchange({
      ...by('reconciler:2'),
      detail: reading({ task }),
      idempotencyKey: 'k1',
    });
    expect(reasonOf(later)).toBe('delivered');
  });
});

describe('a refusal', () => {
  test('to an attested caller carries its issuance id, and is recorded with every check that held', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const detail = reading({ identifier: 'arn:aws:s3:::payroll/a.pdf' });
    const answer = await world.exchange({ ...by('reconciler:2'), detail });
    if (answer.kind !== 'refused') throw new Error('delivered');
    const { record } = world.store.rows.issuances.get(answer.issuanceId ?? '') ?? {};
    expect(record).toMatchObject({
      reason: 'resource_outside_grant',
      tool: 's3.read',
      taskId: onlyTask(world).task.id,
    });
    expect(record?.explanation).toMatchObject({ decision: 'deny', failed: 'grant-covers' });
    expect(record?.explanation['checks']).toContain('identifier-plain');
    expect(eventsOf(world).filter((type) => type === 'exchange.refused')).toHaveLength(1);
  });

  test('of a foreign and of an unknown task is the same', async () => {
    const world = coreWorld();
    await world.exchange({ detail: reading() });
    const foreign = await world.exchange({
      ...by('reconciler-two:2'),
      detail: reading({ task: onlyTask(world).task.id }),
    });
    const unknown = await world.exchange({
      ...by('reconciler-two:2'),
      detail: reading({ task: world.newId() }),
    });
    const ids = [foreign, unknown].map(
      (answer) => (answer.kind === 'refused' ? answer.issuanceId : null) ?? '',
    );
    for (const id of ids)
      expect(world.store.rows.issuances.get(id)?.record).toMatchObject({
        taskId: null,
        templateVersion: null,
      });
    for (const answer of [foreign, unknown])
      expect(answer).toMatchObject({
        error: { name: 'Refusal', reason: 'task_unknown', message: 'No such task.' },
      });
  });

  test('names the task that must be named with an assertion', async () => {
    const { task: _, ...unnamed } = reading();
    expect(reasonOf(await coreWorld().exchange({ detail: unnamed }))).toBe('details_malformed');
  });

  test('of a request that names neither descriptor nor grant', async () => {
    expect(reasonOf(await coreWorld().exchange({}))).toBe('missing_parameter');
  });

  test('counted limits say when to come back', async () => {
    const { template } = coreWorld();
    const grants = template.grants.map((grant) => ({ ...grant, budget: { exchanges: null, perMinute: 1 } }));
    const world = coreWorld({ template: { grants } });
    await world.exchange({ detail: reading() });
    const answer = await world.exchange({ ...by('reconciler:2'), detail: reading() });
    expect(answer).toMatchObject({ error: { reason: 'rate_limited', retryAfterSeconds: 60 } });
    world.clock.advance(30);
    await world.ports.tasks.heartbeat(onlyTask(world).task.id);
    world.clock.advance(30);
    expect(reasonOf(await world.exchange({ ...by('reconciler:2'), detail: reading() }))).toBe('delivered');
  });

  test('a spent budget', async () => {
    const { template } = coreWorld();
    const grants = template.grants.map((grant) => ({ ...grant, budget: { exchanges: 1, perMinute: null } }));
    const world = coreWorld({ template: { grants } });
    expect(reasonOf(await world.exchange({ detail: posting() }))).toBe('delivered');
    expect(reasonOf(await world.exchange({ ...by('reconciler:2'), detail: posting() }))).toBe('budget_spent');
    expect(reasonOf(await world.exchange({ ...by('reconciler:3'), detail: reading() }))).toBe('delivered');
  });
});

describe('resource and requested_token_type', () => {
  test.each([
    ['the identifier', posting().identifier],
    ['the audience of the server', 'https://reports.example'],
  ])('that name %s agree', async (_, target) => {
    expect(reasonOf(await coreWorld().exchange({ detail: posting(), targets: [target] }))).toBe('delivered');
  });

  test('that name another target are refused before any effect', async () => {
    const world = coreWorld();
    const answer = await world.exchange({ detail: posting(), targets: ['https://reports.example/2026q4'] });
    expect(reasonOf(answer)).toBe('target_ambiguous');
    expect(world.trace.only('minter.mint', 'ledger.issueLocal')).toEqual([]);
  });

  test('that ask for the type of the grant get it, and for another are refused', async () => {
    const world = coreWorld();
    const right = { detail: reading(), requestedTokenType: fakeTokenType };
    expect(reasonOf(await world.exchange(right))).toBe('delivered');
    const wrong = { ...right, requestedTokenType: 'urn:ietf:params:oauth:token-type:saml2' };
    expect(reasonOf(await world.exchange({ ...by('reconciler:2'), ...wrong }))).toBe(
      'unsupported_token_type',
    );
  });
});

describe('a plan', () => {
  test('that does not pass the independent check is a Fault, recorded, and nothing is minted', async () => {
    const world = coreWorld();
    const ports = { ...world.ports, check: () => 'opens more than the grant' };
    const rest = {
      grantId: null,
      requestedTokenType: null,
      targets: [],
      idempotencyKey: null,
      requestId: 'r',
      actor: null,
      presented: nothingPresented,
    };
    const answer = await exchange({ ...by('reconciler:1'), ...rest, detail: reading() }, ports);
    expect(answer).toMatchObject({ error: { name: 'Fault', reason: 'plan_check_failed', effect: 'none' } });
    expect(eventsOf(world)).toEqual(['exchange.refused']);
    expect(world.store.rows.audit[0]?.canonical).toContain('opens more than the grant');
    expect(world.cloud.minted).toEqual([]);
  });

  test.each([
    ['a provider that is not there', 'nowhere'],
    ['a provider of a kind that nobody mints', 'dormant'],
  ])('of %s is denied', async (_, provider) => {
    const { template } = coreWorld();
    const world = coreWorld({
      template: { grants: template.grants.map((grant) => ({ ...grant, provider })) },
    });
    expect(reasonOf(await world.exchange({ detail: reading() }))).toBe('tool_not_granted');
    expect(eventsOf(world)).toEqual(['exchange.refused']);
  });

  test('that the provider cannot narrow so far is the minter’s Refusal', async () => {
    const { template } = coreWorld();
    const grants = template.grants.map((grant) => ({ ...grant, mint: { cannotNarrow: true } }));
    expect(reasonOf(await coreWorld({ template: { grants } }).exchange({ detail: reading() }))).toBe(
      'identifier_malformed',
    );
  });
});

test('an exception that nobody expected is an internal Fault, recorded once, its text kept inside', async () => {
  const world = coreWorld();
  world.trace.failNext('tasks.findByRef', { applied: false, error: new TypeError('secret-of-nobody') });
  const answer = await world.exchange({ detail: reading() });
  expect(answer).toMatchObject({ error: { name: 'Fault', reason: 'internal', effect: 'unknown' } });
  expect(eventsOf(world)).toEqual(['exchange.refused']);
  expect(world.store.rows.audit[0]?.canonical).not.toContain('secret-of-nobody');
});

test('no secret and no assertion stands in any row (invariant I12)', async () => {
  const world = coreWorld();
  const first = deliveredOf(await world.exchange({ detail: reading() }));
  await world.exchange({ ...by('reconciler:2'), detail: posting() });
  await world.exchange({ ...by('reconciler:3'), detail: reading({ tool: 'unknown.tool' }) });
  const stored = JSON.stringify([...world.store.rows.issuances.values(), ...world.store.rows.audit]);
  const secrets = [first.credential.reveal(), first.taskToken?.reveal() ?? '', 'reconciler:1', 'signed-isn'];
  for (const secret of secrets) expect(stored).not.toContain(secret);
});
