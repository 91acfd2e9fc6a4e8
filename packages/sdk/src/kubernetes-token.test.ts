import { expect, test } from '@jest/globals';
import * as protocol from '@mayfly/protocol';
import { kubernetesType, parseKubernetesToken } from './kubernetes-token.ts';
import { Secret } from './secret.ts';

const credential = (value: unknown) => new Secret(typeof value === 'string' ? value : JSON.stringify(value));

test('its kind is that of the protocol', () => {
  expect(kubernetesType).toBe(protocol.tokenType.kubernetes);
});

test('the token of an ExecCredential', () => {
  const kind = { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential' };
  expect(parseKubernetesToken(credential({ ...kind, status: { token: 'a.b.c' } }))).toBe('a.b.c');
});

test.each(['a.b.c', '', {}, { status: {} }, { status: { token: '' } }, { status: { token: 7 } }, [], null])(
  'nothing else is one: %j',
  (value) => {
    expect(() => parseKubernetesToken(credential(value))).toThrow(
      expect.objectContaining({ reason: 'answer_unreadable' }),
    );
  },
);
