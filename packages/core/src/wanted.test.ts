import { describe, expect, test } from '@jest/globals';
import { coreWorld, deliveredOf, onlyTask, posting, reading, reasonOf } from '@mayfly/testkit';

const wide = () => {
  const { template } = coreWorld();
  const grants = template.grants.map((grant) => ({
    ...grant,
    actions: ['read', 'write', 'delete'] as const,
  }));
  return coreWorld({ template: { grants } });
};
const verbs = (answer: Parameters<typeof deliveredOf>[0]) => deliveredOf(answer).granted['actions'];
const second = { subject: { kind: 'assertion' as const, token: 'reconciler:2' } };

describe('scope', () => {
  test('narrows what the descriptor leaves open', async () => {
    const answer = await wide().exchange({ detail: posting(), scope: ['read', 'write'] });
    expect(verbs(answer)).toEqual(['read', 'write']);
    expect(verbs(await wide().exchange({ detail: posting(), scope: null }))).toHaveLength(3);
  });

  test('never adds to what the descriptor asks for', async () => {
    const detail = posting({ actions: ['read'] });
    expect(verbs(await wide().exchange({ detail, scope: ['read', 'write'] }))).toEqual(['read']);
  });

  test('narrows a stored grant that is named by its id', async () => {
    const world = wide();
    await world.exchange({ detail: posting() });
    const grantId = onlyTask(world).task.grants.find(({ tool }) => tool === posting().tool)?.id ?? '';
    const answer = await world.exchange({ ...second, grantId, scope: ['delete'] });
    expect(verbs(answer)).toEqual(['delete']);
  });

  test('outside the grant is refused as a scope, where the same verb in the descriptor is a target', async () => {
    const world = wide();
    expect(reasonOf(await world.exchange({ detail: posting(), scope: ['send'] }))).toBe('scope_not_allowed');
    const detail = posting({ actions: ['send'] });
    expect(reasonOf(await world.exchange({ detail, scope: ['send'] }))).toBe('action_outside_grant');
  });
});

describe('a descriptor beside a stored grant', () => {
  const named = async () => {
    const world = coreWorld();
    await world.exchange({ detail: posting() });
    const { task } = onlyTask(world);
    const grantId = task.grants.find(({ tool }) => tool === posting().tool)?.id ?? '';
    return { world, task, grantId };
  };

  test('that means the same is served', async () => {
    const { world, task, grantId } = await named();
    const detail = posting({ task: task.id });
    expect(reasonOf(await world.exchange({ ...second, grantId, detail }))).toBe('delivered');
  });

  test.each([
    ['another task', { task: '00000000-0000-7000-8000-00000000000f' }, 'target_ambiguous'],
    ['a task to be opened', { task: { template: 'invoice-reconcile', ref: 'x' } }, 'target_ambiguous'],
    ['another tool', { tool: reading().tool, identifier: reading().identifier }, 'target_ambiguous'],
    ['another thing', { identifier: 'https://reports.example/2026q4' }, 'resource_outside_grant'],
  ])('that names %s is refused', async (_, change, reason) => {
    const { world, task, grantId } = await named();
    const detail = posting({ task: task.id, ...change });
    expect(reasonOf(await world.exchange({ ...second, grantId, detail }))).toBe(reason);
  });
});

describe('targets', () => {
  test('that all mean the one target are one', async () => {
    const targets = [posting().identifier, 'https://reports.example'];
    expect(reasonOf(await coreWorld().exchange({ detail: posting(), targets }))).toBe('delivered');
  });

  test.each([
    ['a second one', [posting().identifier, 'https://reports.example/2026q4']],
    ['another spelling of the same', ['https://reports.example/']],
    ['the same in capitals', ['HTTPS://reports.example']],
  ])('with %s are refused before any effect', async (_, targets) => {
    const world = coreWorld();
    expect(reasonOf(await world.exchange({ detail: posting(), targets }))).toBe('target_ambiguous');
    expect(world.trace.only('minter.mint', 'ledger.issueLocal')).toEqual([]);
  });
});
