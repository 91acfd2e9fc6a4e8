import { expect, test } from '@jest/globals';
import { Fault } from '@mayfly/core';
import { outcome } from '../../test/cloud.ts';
import { awsCall, isUnknownAction } from './call.ts';

const failing = (name: string, more: object = {}) =>
  Object.assign(new Error('SECRET text of the provider'), { name, ...more });
const answered = (name: string, httpStatusCode: number) => failing(name, { $metadata: { httpStatusCode } });
const call = (error: unknown) => outcome(() => awsCall('AssumeRole', () => Promise.reject(error)));

test('what the call answers is answered', async () => {
  expect(await awsCall('AssumeRole', async () => 7)).toBe(7);
});

test.each([
  ['AccessDenied', 403],
  ['AccessDeniedException', 403],
  ['MalformedPolicyDocumentException', 400],
  ['PackedPolicyTooLargeException', 400],
  ['InvalidIdentityTokenException', 400],
  ['IDPRejectedClaimException', 403],
  ['LimitExceededException', 409],
  ['NoSuchEntityException', 404],
  ['InsufficientSessionLifetimeException', 400],
])(
  '%s is a refusal of the provider: nothing happened, and asking again changes nothing',
  async (name, status) => {
    expect(await call(answered(name, status))).toBe(`provider_refused (none): AssumeRole: ${name} ${status}`);
  },
);

test.each([400, 403, 404, 409, 429])(
  'an unknown %i is an answer: nothing happened, it may be asked again',
  async (status) => {
    expect(await call(answered('Other', status))).toBe(
      `provider_unavailable (none): AssumeRole: Other ${status}`,
    );
  },
);

test.each([500, 502, 503, 504])('a %i may come after the fact', async (status) => {
  expect(await call(answered('Other', status))).toBe(
    `provider_unavailable (unknown): AssumeRole: Other ${status}`,
  );
});

test('a 200 that cannot be read comes after the fact', async () => {
  expect(await call(answered('TypeError', 200))).toBe(
    'provider_unavailable (unknown): AssumeRole: TypeError 200',
  );
});

test.each(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'])('%s was never sent', async (code) => {
  expect(await call(failing('Error', { code }))).toBe('provider_unavailable (none): AssumeRole: Error');
});

test.each(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ERR_STREAM_PREMATURE_CLOSE'])(
  '%s may come after the fact',
  async (code) => {
    expect(await call(failing('Error', { code }))).toBe('provider_unavailable (unknown): AssumeRole: Error');
  },
);

test.each([['TimeoutError'], ['AbortError']])('%s may come after the fact', async (name) => {
  expect(await call(failing(name))).toBe(`provider_unavailable (unknown): AssumeRole: ${name}`);
});

test.each([[undefined], ['text'], [null]])('what is no error may come after the fact: %j', async (thrown) => {
  expect(await call(thrown)).toBe('provider_unavailable (unknown): AssumeRole: unknown');
});

test('a fault from within stays what it is', async () => {
  const fault = new Fault('internal', { effect: 'none', detail: 'own' });
  expect(await call(fault)).toBe('internal (none): own');
});

test('text of the provider stays out of the detail', async () => {
  for (const error of [
    answered('AccessDenied', 403),
    answered('Other', 500),
    failing('Error', { code: 'ECONNRESET' }),
  ])
    expect(await call(error)).not.toContain('SECRET');
});

test('an unknown action is told apart from a refusal', async () => {
  const faultOf = async (error: unknown) => {
    try {
      return await awsCall('GetScopedCredentials', () => Promise.reject(error));
    } catch (fault) {
      return fault;
    }
  };
  expect(isUnknownAction(await faultOf(answered('InvalidAction', 400)))).toBe(true);
  expect(isUnknownAction(await faultOf(answered('Unknown', 405)))).toBe(true);
  for (const error of [
    answered('AccessDenied', 403),
    answered('Other', 400),
    answered('Other', 404),
    answered('Other', 500),
    failing('Error'),
  ])
    expect(isUnknownAction(await faultOf(error))).toBe(false);
  expect(isUnknownAction(answered('InvalidAction', 400))).toBe(false);
});
