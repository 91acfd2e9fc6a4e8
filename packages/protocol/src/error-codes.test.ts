import { expect, test } from '@jest/globals';
import { errorCodes, errorRow } from './error-codes.ts';

interface Row {
  readonly reason: string;
  readonly oauth: string;
  readonly status: number;
  readonly apiStatus?: number;
  readonly says: string;
  readonly todo: string;
}

const rows: readonly Row[] = Object.entries(errorCodes).map(([reason, row]) => ({ reason, ...row }));

// IANA, OAuth Extensions Error Registry and RFC 6749 4.1.2.1 and 5.2; the RFC that each was registered by.
const registered: Readonly<Record<string, string>> = {
  invalid_request: 'RFC 6749',
  invalid_client: 'RFC 6749',
  invalid_grant: 'RFC 6749',
  unauthorized_client: 'RFC 6749',
  unsupported_grant_type: 'RFC 6749',
  invalid_scope: 'RFC 6749',
  access_denied: 'RFC 6749',
  server_error: 'RFC 6749',
  temporarily_unavailable: 'RFC 6749',
  invalid_token: 'RFC 6750',
  insufficient_scope: 'RFC 6750',
  unsupported_token_type: 'RFC 7009',
  invalid_target: 'RFC 8707',
  invalid_authorization_details: 'RFC 9396',
  invalid_dpop_proof: 'RFC 9449',
  use_dpop_nonce: 'RFC 9449',
  authorization_pending: 'RFC 8628',
  slow_down: 'RFC 8628',
  expired_token: 'RFC 8628',
  // Of the registry of security event token delivery.
  invalid_issuer: 'RFC 8935',
  invalid_audience: 'RFC 8935',
  invalid_key: 'RFC 8935',
  authentication_failed: 'RFC 8935',
};

test.each(rows)('$reason: the sentence can stand in error_description', ({ says, todo }) => {
  // RFC 6749 section 5.2: %x20-21 / %x23-5B / %x5D-7E.
  expect(says).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,200}$/);
  expect(todo).toMatch(/^[\x20-\x7e]{1,200}$/);
});

test.each(rows)('$reason: sentences begin with a capital, end with a stop and hold no placeholder', (row) => {
  for (const text of [row.says, row.todo]) {
    expect(text).toMatch(/^[A-Z`].*\.$/);
    expect(text).not.toMatch(/\$\{|%s|undefined/);
  }
});

test.each(rows)('$reason: $oauth is a registered code', ({ oauth }) => {
  expect(Object.hasOwn(registered, oauth)).toBe(true);
});

test.each(rows)('$reason: its statuses are errors and fit the code', ({ oauth, status, apiStatus }) => {
  for (const one of [status, apiStatus ?? status]) {
    expect(one).toBeGreaterThanOrEqual(400);
    expect(one).toBeLessThan(600);
  }
  if (oauth === 'temporarily_unavailable') expect([429, 503]).toContain(status);
  if (oauth === 'server_error') expect(status).toBe(500);
  // RFC 6749 section 5.2: 401 is for failed authentication of the caller alone.
  if (status === 401) expect(['invalid_token', 'invalid_client']).toContain(oauth);
  if (apiStatus !== undefined) expect(apiStatus).not.toBe(status);
});

test('names are snake_case, so that they can be labels of metrics', () => {
  for (const { reason } of rows) expect(reason).toMatch(/^[a-z]+(_[a-z]+)*$/);
});

test('every cause of a bad assertion is told in the same words, used or never good', () => {
  expect(errorRow('assertion_replayed').says).toBe(errorRow('assertion_invalid').says);
  expect(errorRow('assertion_replayed').oauth).toBe(errorRow('assertion_invalid').oauth);
  expect(errorRow('assertion_replayed').status).toBe(errorRow('assertion_invalid').status);
});

test('a failure of ours or of the cloud is never told as a mistake of the caller', () => {
  for (const reason of [
    'issuer_unavailable',
    'database_unavailable',
    'provider_unavailable',
    'provider_refused',
    'not_delivered',
    'overloaded',
    'frozen',
    'recovery_required',
  ] as const)
    expect([reason, errorRow(reason).oauth, errorRow(reason).status]).toEqual([
      reason,
      'temporarily_unavailable',
      503,
    ]);
});
