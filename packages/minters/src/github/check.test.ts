import { expect, test } from '@jest/globals';
import type { MintPlan, MintRequest } from '@mayfly/core';
import { mutationsOf } from '../../test/mutations.ts';
import { allowedFor } from '../../test/plans.ts';
import { githubProvider, githubRequest } from '../../test/small-requests.ts';
import { checkPlan } from '../check.ts';
import { planGithub } from './plan.ts';

const provider = githubProvider('https://api.github.com');
const requests: readonly (readonly [string, MintRequest])[] = [
  ['read of contents', githubRequest(provider)],
  ['write of contents', githubRequest(provider, { actions: ['write'] })],
  [
    'read and write of issues',
    githubRequest(provider, { actions: ['read', 'write'], access: 'github.issues' }),
  ],
];
const check = (plan: unknown, request: MintRequest) =>
  checkPlan(plan as MintPlan, allowedFor(request, { resource: 'https://github.com/acme/*' })); // Broken plans are the point.

test.each(requests)('no single change of what is sent passes: %s', (_, request) => {
  const plan = planGithub(request);
  expect(check(plan, request)).toBeNull();
  const mutations = mutationsOf(plan.body, ['body']);
  expect(mutations.length).toBeGreaterThan(70);
  const passed = mutations.filter(({ value }) => check({ ...plan, body: value }, request) === null);
  expect(passed.map(({ name }) => name)).toEqual([]);
});

test.each(requests)('no single change of what the log is told passes: %s', (_, request) => {
  const plan = planGithub(request);
  const { body: _body, ...told } = plan;
  // Nothing that is sent names the generation; a write includes the read.
  const harmlessHere =
    /^(enforcement: one key more|: one key more|generation: |: without generation|actions: without 0)/;
  const passed = mutationsOf(told).filter(({ value }) => {
    try {
      return check({ ...Object(value), body: plan.body }, request) === null;
    } catch {
      return false; // A member is missing that the type demands.
    }
  });
  expect(passed.map(({ name }) => name).filter((name) => !harmlessHere.test(name))).toEqual([]);
});

test.each([
  ['permissions of no access', { access: 'github.actions' }, 'permission contents is not that of the access'],
  ['a write beyond the actions', { actions: ['read'] }, 'contents exceeds the actions'],
] as const)('refuses %s', (_, change, problem) => {
  const request = githubRequest(provider, { actions: ['write'] });
  const plan = { ...planGithub(request), ...change };
  const allowed = allowedFor({ ...request, ...change }, { resource: 'https://github.com/acme/*' });
  expect(checkPlan(plan, allowed)).toBe(problem);
});
