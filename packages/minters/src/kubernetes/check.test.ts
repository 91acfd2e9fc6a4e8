import { expect, test } from '@jest/globals';
import type { MintPlan, MintRequest } from '@mayfly/core';
import { mutationsOf } from '../../test/mutations.ts';
import { allowedFor } from '../../test/plans.ts';
import { kubernetesProvider, kubernetesRequest } from '../../test/small-requests.ts';
import { checkPlan } from '../check.ts';
import { planKubernetes } from './plan.ts';

const provider = kubernetesProvider('https://10.0.0.1:6443');
const audience = 'https://vault.example';
const requests: readonly (readonly [string, MintRequest])[] = [
  ['for the API server', kubernetesRequest(provider)],
  ['for another audience', kubernetesRequest(provider, { mint: { audience } })],
];
const check = (plan: unknown, request: MintRequest) =>
  checkPlan(plan as MintPlan, allowedFor(request, { resource: 'k8s://staging/agents/*' })); // Broken plans are the point.

// What may be otherwise and still opens nothing more; each with its reason.
const harmless: readonly [RegExp, string][] = [
  [/^body\.expirationSecondsMax: one less$/, 'a shorter life'],
  [/^body\.expirationSecondsMax: one more$/, 'the second by which clocks round'],
];

test.each(requests)('no single change of what is sent passes: %s', (_, request) => {
  const plan = planKubernetes(request);
  expect(check(plan, request)).toBeNull();
  const mutations = mutationsOf(plan.body, ['body']);
  expect(mutations.length).toBeGreaterThan(80);
  const passed = mutations.filter(({ value }) => check({ ...plan, body: value }, request) === null);
  const unexplained = passed.filter(({ name }) => !harmless.some(([pattern]) => pattern.test(name)));
  expect(unexplained.map(({ name }) => name)).toEqual([]);
});

test.each(requests)('no single change of what the log is told passes: %s', (_, request) => {
  const plan = planKubernetes(request);
  const { body: _body, ...told } = plan;
  // Nothing that is sent names the generation.
  const harmlessHere = /^((ends|enforcement): one key more|: one key more|generation: |: without generation)/;
  const passed = mutationsOf(told).filter(({ value }) => {
    try {
      return check({ ...Object(value), body: plan.body }, request) === null;
    } catch {
      return false; // A member is missing that the type demands.
    }
  });
  expect(passed.map(({ name }) => name).filter((name) => !harmlessHere.test(name))).toEqual([]);
});

test('a plan for an account that has been taken off the ceilings does not pass', () => {
  const [[, request] = ['', kubernetesRequest(provider)]] = requests;
  const narrowed = kubernetesProvider('https://10.0.0.1:6443', { serviceAccounts: ['agents/reader'] });
  const allowed = allowedFor(request, { resource: 'k8s://staging/agents/*', provider: narrowed });
  expect(checkPlan(planKubernetes(request), allowed)).toBe('the account is not a ceiling of the provider');
});
