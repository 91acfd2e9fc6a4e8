import { deferredGrant } from '../suite.ts';
import {
  dropFields,
  dropHeader,
  dropMember,
  editJson,
  fieldsOf,
  onError,
  onMetadata,
  onPath,
  onToken,
  refuseWhen,
  setError,
  setHeader,
  setStatus,
} from './moves.ts';
import type { Ask, Mutant, Seen, Told, Tools } from './mutant.ts';

const onRevoke = onPath('/revoke');
const onIntrospect = onPath('/introspect');
const onApi = onPath('/v1/whoami');
const onJwks = onPath('/jwks');
const nothing: Told = { status: 0, headers: {}, body: '' };
const done: Told = {
  status: 200,
  headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  body: '{}',
};
const is = (one: typeof onRevoke, seen: Seen) => one(seen, nothing);
const tokenIn = (seen: Seen) => fieldsOf(seen).get('token') ?? '';

async function speakAs(seen: Seen, { suite }: Tools, subject: string): Promise<Seen> {
  const authorization = `Bearer ${await suite.assertion({ subject })}`;
  return { ...seen, headers: { ...seen.headers, authorization } };
}

/** Whoever asks is taken for this subject, where `when` holds. */
function believe(one: typeof onRevoke, who: (tools: Tools) => string, when: (seen: Seen) => boolean): Ask {
  return (seen, tools) => (is(one, seen) && when(seen) ? speakAs(seen, tools, who(tools)) : seen);
}

const agent = ({ profile }: Tools) => profile.subjects.agent;
const server = ({ profile }: Tools) => profile.resourceServers[0].subject;
const nobody = ({ headers }: Seen) => headers['authorization'] === undefined;

export const revocationMutants: readonly Mutant[] = [
  { breaks: 'H1', says: 'asks nobody who he is', ask: believe(onRevoke, agent, nobody) },
  {
    breaks: 'H1',
    says: 'answers 200 to nobody',
    answer: setStatus(200, (seen, told) => onRevoke(seen, told) && nobody(seen)),
  },
  { breaks: 'H1', says: 'leaves the challenge out', answer: dropHeader('www-authenticate') },
  { breaks: 'H1.b', says: 'does nothing', ask: (seen) => (is(onRevoke, seen) ? done : seen) },
  {
    breaks: 'H1.c',
    says: 'refuses a hint',
    ask: refuseWhen((seen, fields) => is(onRevoke, seen) && fields.has('token_type_hint')),
  },
  {
    breaks: 'H1.c',
    says: 'believes a hint',
    ask: (seen) =>
      is(onRevoke, seen) && fieldsOf(seen).get('token_type_hint') === 'refresh_token' ? done : seen,
  },
  {
    breaks: 'H1.d',
    says: 'needs no token',
    ask: (seen) => (is(onRevoke, seen) && tokenIn(seen) === '' ? done : seen),
  },
  {
    breaks: 'H2',
    says: 'tells unknown from known',
    answer: setStatus(400, (seen, told) => onRevoke(seen, told) && tokenIn(seen) === 'nonsense'),
  },
  {
    breaks: 'H2',
    says: 'says that it was dead',
    answer: (told, seen, { memory }) => {
      const known = memory.has(tokenIn(seen));
      memory.set(tokenIn(seen), '');
      return onRevoke(seen, told) && known ? { ...told, body: '{"revoked":false}' } : told;
    },
  },
  { breaks: 'H2.b', says: 'lets anybody revoke', ask: believe(onRevoke, agent, () => true) },
  {
    breaks: 'H2.b',
    says: 'says that it is another’s',
    answer: editJson(
      (seen, told) => onRevoke(seen, told) && tokenIn(seen) !== 'nonsense',
      (body) => Object.assign(body, { foreign: true }),
    ),
  },
  {
    breaks: 'H3',
    says: 'does not know issuances',
    ask: (seen) => (is(onRevoke, seen) && tokenIn(seen).startsWith('isn_') ? done : seen),
  },
  {
    breaks: 'H4',
    says: 'answers before it has done it',
    ask: (seen, { forward }) => {
      if (!is(onRevoke, seen)) return seen;
      setTimeout(() => forward(seen).catch(() => undefined), 300);
      return done;
    },
  },
  { breaks: 'I1', says: 'asks nobody who he is', ask: believe(onIntrospect, server, nobody) },
  {
    breaks: 'I1',
    says: 'answers every workload',
    answer: (told, seen) => (onIntrospect(seen, told) && !nobody(seen) && told.status === 401 ? done : told),
  },
  { breaks: 'I1.b', says: 'answers every resource server', ask: believe(onIntrospect, server, () => true) },
  {
    breaks: 'I1.b',
    says: 'says more than not active',
    answer: editJson(onIntrospect, (body) => Object.assign(body, { aud: 'https://reports.example/mcp' })),
  },
  {
    breaks: 'I1.c',
    says: 'says why',
    answer: editJson(onIntrospect, (body) => Object.assign(body, { reason: 'malformed' })),
  },
  ...['sub', 'exp', 'jti', 'client_id', 'txn'].map((name) => ({
    breaks: 'I2',
    says: `leaves ${name} out`,
    answer: dropMember(name, onIntrospect),
  })),
  {
    breaks: 'I2',
    says: 'calls nothing active',
    answer: editJson(onIntrospect, (body) => Object.assign(body, { active: false })),
  },
  {
    breaks: 'I2.b',
    says: 'lets it be cached',
    answer: setHeader('cache-control', 'max-age=5', onIntrospect),
  },
  {
    breaks: 'I3',
    says: 'remembers that it was active',
    answer: (told, seen, { memory }) => {
      if (!onIntrospect(seen, told)) return told;
      const known = memory.get(tokenIn(seen));
      memory.set(tokenIn(seen), known ?? told.body);
      return { ...told, body: known ?? told.body };
    },
  },
];

const set = (name: string, value: unknown) =>
  editJson(onMetadata, (body) => Object.assign(body, { [name]: value }));
const withoutValue = (name: string, value: string) =>
  editJson(onMetadata, (body) =>
    Object.assign(body, { [name]: [body[name] ?? []].flat().filter((one) => one !== value) }),
  );

export const metadataMutants: readonly Mutant[] = [
  {
    breaks: 'J1',
    says: 'has a slash too many',
    answer: editJson(onMetadata, (body) => Object.assign(body, { issuer: `${body['issuer']}/` })),
  },
  {
    breaks: 'J1.b',
    says: 'says two things',
    answer: editJson(onPath('/.well-known/openid-configuration'), (body) =>
      Object.assign(body, { claims_supported: [] }),
    ),
  },
  {
    breaks: 'J2',
    says: 'does not list none',
    answer: withoutValue('token_endpoint_auth_methods_supported', 'none'),
  },
  { breaks: 'J2', says: 'lists no keys', answer: dropMember('jwks_uri', onMetadata) },
  {
    breaks: 'J2',
    says: 'names another token endpoint',
    answer: set('token_endpoint', 'https://elsewhere.example/token'),
  },
  { breaks: 'J2', says: 'lists no grant type', answer: dropMember('grant_types_supported', onMetadata) },
  {
    breaks: 'J2.b',
    says: 'lists what it does not take',
    answer: editJson(onMetadata, (body) =>
      Object.assign(body, {
        grant_types_supported: [...[body['grant_types_supported'] ?? []].flat(), 'password'],
      }),
    ),
  },
  { breaks: 'J2.b', says: 'does not list what it takes', answer: set('grant_types_supported', []) },
  {
    breaks: 'J2.c',
    says: 'does not list the deferred grant',
    answer: withoutValue('grant_types_supported', deferredGrant),
  },
  {
    breaks: 'J3',
    says: 'lists an endpoint that is not there',
    answer: editJson(onMetadata, (body) =>
      Object.assign(body, { registration_endpoint: `${String(body['issuer'])}/conformance-nowhere` }),
    ),
  },
  { breaks: 'J4', says: 'names another resource', answer: set('resource', 'https://elsewhere.example') },
  { breaks: 'J4', says: 'names no server', answer: dropMember('authorization_servers', onMetadata) },
  {
    breaks: 'J4.b',
    says: 'does not point there',
    answer: setHeader('www-authenticate', 'Bearer realm="x"', onApi),
  },
  { breaks: 'J5', says: 'lets keys not be cached', answer: setHeader('cache-control', 'no-store', onJwks) },
  {
    breaks: 'J5',
    says: 'leaves kid out',
    answer: editJson(onJwks, (body) => Reflect.deleteProperty(Object([body['keys']].flat()[0]), 'kid')),
  },
  {
    breaks: 'J5.b',
    says: 'publishes a private key',
    answer: editJson(onJwks, (body) => Object.assign(Object([body['keys']].flat()[0]), { d: 'AA' })),
  },
  {
    breaks: 'L1',
    says: 'refuses to be asked',
    ask: refuseWhen((_, fields) => fields.get('completion_mode') === 'deferred'),
  },
  {
    breaks: 'L1',
    says: 'refuses a mode that it does not know',
    ask: refuseWhen((_, fields) => fields.get('completion_mode') === 'conformance'),
  },
  { breaks: 'L3', says: 'calls no code a wrong one', answer: setError('invalid_grant', onToken) },
  { breaks: 'L3.b', says: 'ignores completion_mode', ask: dropFields('completion_mode') },
  { breaks: 'L4', says: 'calls it invalid_request', answer: setError('invalid_request', onToken) },
  { breaks: 'L4', says: 'calls it pending', answer: setError('authorization_pending', onToken) },
  { breaks: 'N1', says: 'calls it plain JSON', answer: setHeader('content-type', 'application/json', onApi) },
  ...['type', 'reason', 'status', 'instance'].map((name) => ({
    breaks: 'N1',
    says: `leaves ${name} out`,
    answer: dropMember(name, onApi),
  })),
  ...['/token', '/introspect', '/revoke'].map((path) => ({
    breaks: 'N1.b',
    says: `calls it a problem at ${path}`,
    answer: setHeader(
      'content-type',
      'application/problem+json',
      (seen, told) => onPath(path)(seen, told) && onError(seen, told),
    ),
  })),
  { breaks: 'N2', says: 'leaves the challenge out', answer: dropHeader('www-authenticate') },
  {
    breaks: 'N2',
    says: 'says an error to who has shown nothing',
    answer: setHeader(
      'www-authenticate',
      'Bearer error="invalid_token"',
      (seen, told) => onApi(seen, told) && nobody(seen),
    ),
  },
  {
    breaks: 'N2',
    says: 'says no error to who has shown a bad one',
    answer: setHeader('www-authenticate', 'Bearer', (seen, told) => onApi(seen, told) && !nobody(seen)),
  },
];
