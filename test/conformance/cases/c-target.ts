import { type Case, check, expectIssued, expectRefused } from '../case.ts';
import { filled } from '../profile.ts';
import { at, claimsOf, type Suite, textOf } from '../suite.ts';

const refusal = 'invalid_authorization_details';

/** The plain descriptor, to be broken. */
const plain = ({ profile }: Suite) => ({ ...filled(profile.details['plain'] ?? {}, crypto.randomUUID()) });
const broken = async (suite: Suite, detailText: string) =>
  expectRefused(await suite.exchange({ detailText }), refusal);

/** What of an answer, a token or an introspection is told about the one thing that was granted. */
function checkGranted(suite: Suite, answer: Awaited<ReturnType<Suite['exchange']>>, details: unknown): void {
  const asked = suite.profile.details['plain'];
  const isOne = Array.isArray(details) && details.length === 1;
  check(answer, isOne, 'authorization_details of one element');
  for (const name of suite.profile.detailRules.granted) {
    const granted = at(details, 0, name);
    check(answer, granted !== undefined && (asked?.[name] ?? granted) === granted, `${name} as granted`);
  }
}

/** The `audience` that names the grant of a first exchange, and the token that may use it. */
async function storedGrant(suite: Suite) {
  const first = await suite.issued();
  const audience = `${suite.profile.issuer}/grants/${String(at(first.body, 'issuance', 'grant'))}`;
  return { audience };
}

/** C. Target and detail (RFC 8707, RFC 9396). */
export const targetCases: readonly Case[] = [
  {
    id: 'C1',
    rule: 'resource is an absolute URI without fragment, or invalid_target',
    source: 'RFC 8707 section 2',
    must: 'MUST',
    run: async (suite) => {
      const { audience } = suite.profile.resourceServers[0];
      for (const resource of ['foo', '/path', `${audience}#f`, `${audience}#`])
        expectRefused(await suite.exchange({ more: { resource } }), 'invalid_target');
    },
  },
  {
    id: 'C2',
    rule: 'resource is compared as text: another spelling of the same URI is another target',
    source: 'RFC 8707 section 2',
    must: 'MUST',
    run: async (suite) => {
      const identifier = String(suite.profile.details['plain']?.['identifier']);
      expectIssued(await suite.exchange({ more: { resource: identifier } }));
      const upper = identifier.replace(/[^/]+$/, (last) => last.toUpperCase().replace('E', '%45'));
      for (const resource of [`${identifier}/`, `${identifier}?`, upper, identifier.replace('://', '://x@')])
        expectRefused(await suite.exchange({ more: { resource } }), 'invalid_target');
    },
  },
  {
    id: 'C3',
    rule: 'a detail of an unknown type is refused',
    source: 'RFC 9396 section 5',
    must: 'MUST',
    run: async (suite) => {
      await broken(suite, JSON.stringify([{ ...plain(suite), type: 'conformance_unknown' }]));
    },
  },
  {
    id: 'C3.b',
    rule: 'a detail with an unknown field is refused',
    source: 'RFC 9396 section 5',
    must: 'MUST',
    run: async (suite) => {
      await broken(suite, JSON.stringify([{ ...plain(suite), conformance_unknown: true }]));
    },
  },
  {
    id: 'C3.c',
    rule: 'a field of the wrong JSON type, or with a bad value, is refused',
    source: 'RFC 9396 section 5',
    must: 'MUST',
    run: async (suite) => {
      for (const wrong of suite.profile.detailRules.wrong)
        await broken(suite, JSON.stringify([{ ...plain(suite), ...wrong }]));
    },
  },
  {
    id: 'C3.d',
    rule: 'a detail without a required field is refused',
    source: 'RFC 9396 section 5',
    must: 'MUST',
    run: async (suite) => {
      for (const name of suite.profile.detailRules.required)
        await broken(suite, JSON.stringify([{ ...plain(suite), [name]: undefined }]));
    },
  },
  {
    id: 'C3.e',
    rule: 'exactly one detail is taken',
    source: 'RFC 9396 section 5',
    must: 'MUST',
    run: async (suite) => {
      await broken(suite, '[]');
      await broken(suite, JSON.stringify([plain(suite), plain(suite)]));
    },
  },
  {
    id: 'C3.f',
    rule: 'a key that stands twice in one object is refused',
    source: 'RFC 8259 section 4',
    must: 'MUST',
    run: async (suite) => {
      const text = JSON.stringify([plain(suite)]);
      await broken(suite, text.replace('{', '{"type":"another",'));
    },
  },
  {
    id: 'C3.g',
    rule: 'what is no JSON array is refused',
    source: 'RFC 9396 section 2',
    must: 'MUST',
    run: async (suite) => {
      for (const text of ['[', 'null', '"x"', JSON.stringify(plain(suite))]) await broken(suite, text);
    },
  },
  {
    id: 'C4',
    rule: 'authorization_details is required where no stored grant is named',
    source: 'RFC 9396 section 5',
    must: 'MUST',
    run: async (suite) => {
      expectRefused(await suite.exchange({ more: { authorization_details: '' } }), 'invalid_request');
    },
  },
  {
    id: 'C4.b',
    rule: 'audience may name a stored grant instead of a detail',
    source: 'RFC 8693 section 2.1',
    must: 'MUST',
    needs: ['stored-grants'],
    run: async (suite) => {
      const { audience } = await storedGrant(suite);
      const answer = await suite.issued({ more: { audience, authorization_details: '' } });
      checkGranted(suite, answer, answer.body['authorization_details']);
    },
  },
  {
    id: 'C5',
    rule: 'a stored grant and a detail that are both sent must agree',
    source: 'RFC 8693 section 2.2.2',
    must: 'MUST',
    needs: ['stored-grants'],
    run: async (suite) => {
      const { audience } = await storedGrant(suite);
      expectRefused(await suite.exchange({ more: { audience } }), 'invalid_target');
    },
  },
  {
    id: 'C6',
    rule: 'the answer holds authorization_details as granted',
    source: 'RFC 9396 section 7',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      checkGranted(suite, answer, answer.body['authorization_details']);
    },
  },
  {
    id: 'C6.b',
    rule: 'the access token holds them',
    source: 'RFC 9396 section 9.1',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.issued();
      checkGranted(suite, answer, claimsOf(answer)['authorization_details']);
    },
  },
  {
    id: 'C6.c',
    rule: 'introspection answers them',
    source: 'RFC 9396 section 9.2',
    must: 'MUST',
    needs: ['introspection'],
    run: async (suite) => {
      const answer = await suite.introspect(textOf(await suite.issued(), 'access_token'));
      checkGranted(suite, answer, answer.body['authorization_details']);
    },
  },
  {
    id: 'C6.d',
    rule: 'the answer names the issuance, and when it ends',
    source: 'RFC 9396 section 7.1',
    must: 'MUST',
    needs: ['issuance'],
    run: async (suite) => {
      const answer = await suite.issued();
      const issuance = answer.body['issuance'];
      check(answer, String(at(issuance, 'id')).length > 16, 'issuance.id');
      const end = Date.parse(String(at(issuance, 'expires_at')));
      check(answer, Math.abs(end / 1000 - Number(claimsOf(answer)['exp'])) <= 1, 'issuance.expires_at');
    },
  },
  {
    id: 'C7',
    rule: 'the metadata lists the types of detail',
    source: 'RFC 9396 section 10',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.metadata();
      const types = [answer.body['authorization_details_types_supported']].flat();
      check(answer, types.includes(suite.profile.details['plain']?.['type']), 'the type of the profile');
    },
  },
  {
    id: 'C7.b',
    rule: 'the JSON Schema of the type is published, and closed',
    source: 'RFC 9396 section 10',
    must: 'SHOULD',
    needsMember: 'detailSchema',
    run: async (suite) => {
      const answer = await suite.send({ path: suite.profile.detailSchema ?? '' });
      check(
        answer,
        answer.status === 200 && at(answer.body, 'additionalProperties') === false,
        'a closed schema',
      );
    },
  },
  {
    id: 'C8',
    rule: 'what is granted is never wider than what was asked for',
    source: 'RFC 9396 section 7',
    must: 'MUST',
    run: async (suite) => {
      const [action] = [suite.profile.details['two-actions']?.['actions']].flat();
      const answer = await suite.issued({ detail: 'two-actions', detailMore: { actions: [action] } });
      for (const details of [answer.body['authorization_details'], claimsOf(answer)['authorization_details']])
        check(
          answer,
          JSON.stringify(at(details, 0, 'actions')) === JSON.stringify([action]),
          `${action} alone`,
        );
    },
  },
];
