import { describe, expect, test } from '@jest/globals';
import { Refusal } from '@mayfly/core';
import { errorCodes, formatId } from '@mayfly/protocol';
import { parseTokenRequest } from './token-request.ts';

const issuer = 'https://mayfly.example';
const grantId = '01890000-0000-7000-8000-000000000001';
const grant = `${issuer}/grants/${formatId('grt', grantId)}`;
const nothingPresented = {
  ...{ dpop: null, method: 'POST', url: `${issuer}/token`, accessToken: null, certificate: null },
};
const exchange = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token: 'a.b.c',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
};
const details = JSON.stringify([
  { type: 'mayfly_tool_call', task: '01890000-0000-7000-8000-000000000002', tool: 't', identifier: 'i' },
]);
type Pairs = readonly (readonly [string, string])[];

function parse(pairs: Pairs, authorization?: string) {
  const form = new URLSearchParams([...Object.entries(exchange), ...pairs.map(([...pair]) => pair)]);
  const headers = authorization === undefined ? {} : { authorization };
  return parseTokenRequest(form, {
    issuer,
    requestId: 'r',
    idempotencyKey: null,
    headers,
    presented: nothingPresented,
  });
}

/** `reason: detail` of what is refused. */
function refusal(pairs: Pairs, authorization?: string): string {
  try {
    parse(pairs, authorization);
    return 'taken';
  } catch (error) {
    return error instanceof Refusal ? `${error.reason}: ${error.detail}` : `bare error: ${error}`;
  }
}
const described = (...pairs: Pairs): Pairs => [['authorization_details', details], ...pairs];

describe('targets', () => {
  test('resource and audience may be repeated; each is kept to be compared, once', () => {
    const { targets, grantId: none } = parse(
      described(
        ['resource', 'https://a.example'],
        ['audience', 'logical name'],
        ['audience', 'https://a.example'],
        ['resource', ''],
      ),
    );
    expect([targets, none]).toEqual([['https://a.example', 'logical name'], null]);
  });

  test('an audience below the issuer names a stored grant, however it is spelled and however often', () => {
    const bare = formatId('grt', grantId).slice(4);
    const asked = parse([
      ['audience', grant],
      ['audience', `${issuer}/grants/${bare}`],
      ['audience', `${issuer}/grants/${grantId.toUpperCase()}`],
    ]);
    expect([asked.grantId, asked.targets, asked.detail]).toEqual([grantId, [], null]);
    expect(parse(described(['audience', grant])).grantId).toBe(grantId);
  });

  test.each<readonly [string, Pairs, string]>([
    [
      'two grants',
      [
        ['audience', grant],
        ['audience', `${issuer}/grants/01890000-0000-7000-8000-000000000009`],
      ],
      'target_ambiguous: more than one grant',
    ],
    ['a grant that is none', [['audience', `${issuer}/grants/x`]], 'task_unknown: grant id'],
    [
      'an audience alone that names no grant',
      [['audience', 'https://a.example']],
      'target_ambiguous: names no stored grant',
    ],
    ['nothing', [], 'missing_parameter: authorization_details'],
    ['a relative resource', described(['resource', 'foo']), 'target_ambiguous: resource'],
    [
      'a resource with a fragment',
      described(['resource', 'https://a.example/#f']),
      'target_ambiguous: resource',
    ],
    ['an empty fragment', described(['resource', 'https://a.example/#']), 'target_ambiguous: resource'],
    [
      'a bad one among good ones',
      described(['resource', 'https://a.example'], ['resource', '/b']),
      'target_ambiguous: resource',
    ],
  ])('%s is refused', (_, pairs, expected) => {
    expect(refusal(pairs)).toBe(expected);
  });
});

describe('scope', () => {
  const scopeOf = (scope: string) => parse(described(['scope', scope])).scope;

  test('verbs narrow; addresses of another service say nothing here', () => {
    expect(scopeOf('write read')).toEqual(['read', 'write']);
    expect(scopeOf('https://www.googleapis.com/auth/devstorage.read_only')).toBeNull();
    expect(scopeOf('https://www.googleapis.com/auth/cloud-platform read')).toEqual(['read']);
    expect(parse(described()).scope).toBeNull();
  });

  test.each([
    'call',
    'openid',
    'READ',
    'read  write',
    ' read',
    'read"',
    'read\\',
    'lesen\u00e4',
    'read\twrite',
  ])('%j is refused', (scope) => {
    expect(refusal(described(['scope', scope]))).toMatch(/^scope_not_allowed: /);
  });

  test('actions of the descriptor outside it are refused', () => {
    const narrow = JSON.stringify([{ ...JSON.parse(details)[0], actions: ['read', 'write'] }]);
    const pairs = (scope: string): Pairs => [
      ['authorization_details', narrow],
      ['scope', scope],
    ];
    expect(refusal(pairs('read'))).toBe('scope_not_allowed: actions outside the scope');
    expect(refusal(pairs('read write delete'))).toBe('taken');
  });
});

describe('client authentication', () => {
  const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
  const asserted = (type: string, token = 'c.l.i'): Pairs =>
    described(['client_assertion', token], ['client_assertion_type', type]);

  test('is optional; client_id alone means nothing', () => {
    expect(parse(described(['client_id', 'anything'])).client).toBeNull();
    expect(parse(asserted(jwtBearer)).client).toEqual({ token: 'c.l.i', spiffe: false, clientId: null });
    const spiffe = 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe';
    expect(parse([...asserted(spiffe), ['client_id', 'x']]).client).toEqual({
      token: 'c.l.i',
      spiffe: true,
      clientId: 'x',
    });
  });

  test.each<readonly [string, Pairs, string | undefined, string]>([
    ['an unknown type', asserted('urn:x'), undefined, 'client_assertion_invalid: client_assertion_type'],
    [
      'a name of Object’s',
      asserted('constructor'),
      undefined,
      'client_assertion_invalid: client_assertion_type',
    ],
    [
      'one that is too long',
      asserted(jwtBearer, 'x'.repeat(16_385)),
      undefined,
      'client_assertion_invalid: too long',
    ],
    [
      'a secret in the form',
      described(['client_secret', 's']),
      undefined,
      'client_assertion_invalid: client_secret',
    ],
    ['Basic', described(), 'Basic YTpi', 'client_assertion_invalid: an Authorization header'],
    ['Bearer', described(), 'Bearer x', 'client_assertion_invalid: an Authorization header'],
    [
      'an assertion without its type',
      described(['client_assertion', 'x']),
      undefined,
      'malformed_request: client_assertion and its type belong together',
    ],
    [
      'a type without its assertion',
      described(['client_assertion_type', jwtBearer]),
      undefined,
      'malformed_request: client_assertion and its type belong together',
    ],
  ])('by %s is refused', (_, pairs, authorization, expected) => {
    expect(refusal(pairs, authorization)).toBe(expected);
  });
});

describe('a poll of a deferred answer', () => {
  const poll = (form: Record<string, string>) => {
    const all = { grant_type: 'urn:ietf:params:oauth:grant-type:deferred', ...form };
    try {
      return parseTokenRequest(new URLSearchParams(all), {
        issuer,
        requestId: 'r',
        idempotencyKey: null,
        presented: nothingPresented,
        headers: {},
      });
    } catch (error) {
      return Reflect.get(Object(error), 'reason');
    }
  };

  test('names a code, which is unknown, and nothing of the first request', () => {
    expect(poll({})).toBe('missing_parameter');
    expect(poll({ deferral_code: 'x' })).toBe('deferral_unknown');
    expect(poll({ deferral_code: 'x', completion_mode: 'deferred' })).toBe('malformed_request');
  });

  test('completion_mode of an exchange is taken', () => {
    expect(refusal(described(['completion_mode', 'deferred']))).toBe('taken');
  });
});

test('every public sentence fits RFC 6749 section 5.2, so that it can stand in any answer', () => {
  for (const [reason, { says, oauth }] of Object.entries(errorCodes)) {
    expect([reason, says]).toEqual([reason, expect.stringMatching(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)]);
    expect([reason, oauth]).toEqual([reason, expect.stringMatching(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)]);
  }
});
