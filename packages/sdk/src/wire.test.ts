import { expect, test } from '@jest/globals';
import * as protocol from '@mayfly/protocol';
import { taskIsOver } from './messages.ts';
import {
  asTime,
  awsCredentialsType,
  azureSasType,
  detailType,
  grantTypeTokenExchange,
  line,
  parseJson,
  subjectTokenType,
} from './wire.ts';

test('the constants that the shipped package carries are those of the protocol', () => {
  expect(grantTypeTokenExchange).toBe(protocol.grantTypeTokenExchange);
  expect(subjectTokenType).toEqual({
    jwt: protocol.tokenType.jwt,
    access_token: protocol.tokenType.accessToken,
  });
  expect(awsCredentialsType).toBe(protocol.tokenType.awsCredentials);
  expect(azureSasType).toBe(protocol.tokenType.azureSas);
  expect(detailType).toBe(protocol.detailType);
});

test('every reason that ends a task is one of the protocol, but the sdk’s own lease_lost', () => {
  const foreign = [...taskIsOver].filter((reason) => !(reason in protocol.errorCodes));
  expect(foreign).toEqual(['lease_lost']);
});

test('text of a server becomes one bounded line', () => {
  expect(line('a\n\u001b[31mb\u202e\tc')).toBe('a [31mb c');
  expect(line('x'.repeat(2000))).toHaveLength(1003);
});

test('what is no JSON and no time reads as undefined, and nothing of it is quoted', () => {
  expect(parseJson('secret-text')).toBeUndefined();
  expect(asTime('yesterday')).toBeUndefined();
  expect(asTime('2026-11-24T12:00:00Z')).toEqual(new Date('2026-11-24T12:00:00Z'));
});
