import { type Case, check } from '../case.ts';
import { deferredGrant, exchangeGrant } from '../suite.ts';

const openid = '/.well-known/openid-configuration';
const resourcePath = '/.well-known/oauth-protected-resource';

/** J. Metadata (RFC 8414, RFC 9728). */
export const metadataCases: readonly Case[] = [
  {
    id: 'J1',
    rule: 'the metadata names the issuer byte for byte',
    source: 'RFC 8414 section 3.3',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.metadata();
      check(answer, answer.status === 200 && answer.body['issuer'] === suite.profile.issuer, 'the issuer');
    },
  },
  {
    id: 'J1.b',
    rule: 'OpenID’s name for it, where it is served, says the same',
    source: 'RFC 8414 section 5',
    must: 'SHOULD',
    run: async (suite) => {
      const [one, two] = [await suite.metadata(), await suite.send({ path: openid })];
      check(two, two.status === 404 || two.text === one.text, 'the same document, or none');
    },
  },
  {
    id: 'J2',
    rule: 'grant types, methods of client authentication with none, and the token endpoint are listed',
    source: 'RFC 8414 section 2',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.metadata();
      const list = (name: string) => [answer.body[name] ?? []].flat();
      check(answer, list('grant_types_supported').includes(exchangeGrant), 'the exchange');
      check(answer, list('token_endpoint_auth_methods_supported').includes('none'), 'none');
      check(answer, answer.body['token_endpoint'] === suite.tokenUrl, 'token_endpoint');
      check(answer, typeof answer.body['jwks_uri'] === 'string', 'jwks_uri');
    },
  },
  {
    id: 'J2.b',
    rule: 'what is listed as a grant type is taken, what is not is unsupported_grant_type',
    source: 'RFC 8414 section 2',
    must: 'MUST',
    run: async (suite) => {
      const metadata = await suite.metadata();
      const listed = [metadata.body['grant_types_supported'] ?? []].flat().map(String);
      const all = ['password', 'client_credentials', 'refresh_token', 'authorization_code', exchangeGrant];
      for (const grant_type of new Set([...all, ...listed])) {
        const answer = await suite.token({ grant_type });
        const isUnsupported = answer.body['error'] === 'unsupported_grant_type';
        check(answer, isUnsupported !== listed.includes(grant_type), 'what the metadata says');
      }
    },
  },
  {
    id: 'J2.c',
    rule: 'a server that defers lists the grant',
    source: 'draft-ietf-oauth-deferred-token-response',
    must: 'MUST',
    needs: ['deferral'],
    run: async (suite) => {
      const answer = await suite.metadata();
      check(
        answer,
        [answer.body['grant_types_supported']].flat().includes(deferredGrant),
        'the deferred grant',
      );
    },
  },
  {
    id: 'J3',
    rule: 'every endpoint listed is served',
    source: 'RFC 8414 section 2',
    must: 'MUST',
    run: async (suite) => {
      const metadata = await suite.metadata();
      for (const [name, address] of Object.entries(metadata.body)) {
        if (!/(_endpoint|_uri|_documentation)$/.test(name) || typeof address !== 'string') continue;
        if (!address.startsWith(`${suite.profile.issuer}/`)) continue;
        const answer = await suite.send({ path: address });
        check(answer, answer.status !== 404 && answer.status < 500, `${name} that is served`);
      }
    },
  },
  {
    id: 'J4',
    rule: 'the protected resource describes itself: resource and authorization_servers',
    source: 'RFC 9728 section 2',
    must: 'MUST',
    needs: ['api'],
    run: async (suite) => {
      const answer = await suite.send({ path: resourcePath });
      const { issuer } = suite.profile;
      check(answer, answer.status === 200 && answer.body['resource'] === issuer, 'resource');
      check(answer, [answer.body['authorization_servers']].flat().includes(issuer), 'authorization_servers');
    },
  },
  {
    id: 'J4.b',
    rule: 'a 401 of the protected resource points there by resource_metadata',
    source: 'RFC 9728 section 5.1',
    must: 'MUST',
    needs: ['api'],
    run: async (suite) => {
      for (const headers of [{}, { authorization: 'Bearer nonsense' }] as const) {
        const answer = await suite.send({ path: suite.profile.resource ?? '/', headers });
        const challenge = answer.headers['www-authenticate'] ?? '';
        const pointer = `resource_metadata="${suite.profile.issuer}${resourcePath}"`;
        check(answer, answer.status === 401 && challenge.includes(pointer), `401 with ${pointer}`);
      }
    },
  },
  {
    id: 'J5',
    rule: 'the keys are public, each with kid and alg, and may be cached for five minutes',
    source: 'RFC 7517 section 4',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.send({ path: suite.profile.endpoints.jwks });
      const keys = [answer.body['keys'] ?? []].flat().map(Object);
      check(answer, keys.length > 0, 'keys');
      check(
        answer,
        keys.every((key) => typeof key.kid === 'string' && typeof key.alg === 'string'),
        'kid and alg',
      );
      check(answer, /max-age=300\b/.test(answer.headers['cache-control'] ?? ''), 'max-age=300');
    },
  },
  {
    id: 'J5.b',
    rule: 'no private or symmetric key is published',
    source: 'RFC 7517 section 9.2',
    must: 'MUST',
    run: async (suite) => {
      const answer = await suite.send({ path: suite.profile.endpoints.jwks });
      const keys = [answer.body['keys'] ?? []].flat().map(Object);
      const secret = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'];
      check(
        answer,
        !keys.some((key) => secret.some((name) => Object.hasOwn(key, name))),
        'public members alone',
      );
    },
  },
];

export const metadataUnseen = [
  {
    id: 'J2.d',
    why: 'deferred_token_response_supported and the revocation of deferral codes follow with approvals',
  },
  {
    id: 'J5.c',
    why: 'that a key is published before its first use, and kept to its last, takes a rotation and hours',
  },
  { id: 'K1', why: 'step-up belongs to resource servers and the approval API; approvals are not built yet' },
] as const;
