import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { type JsonAnswer, type Lie, member } from '../json-api.ts';
import type { User } from './authenticate.ts';
import { type ClusterRecord, keyOf, type ServiceAccount, type State, usernameOf } from './state.ts';

/** One call of the API, as RBAC and the audit log see it. */
export interface ApiCall {
  readonly verb: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

const verbs: Readonly<Record<string, string>> = {
  GET: 'get',
  POST: 'create',
  PUT: 'update',
  DELETE: 'delete',
};
const path =
  /^\/api\/v1\/namespaces\/([a-z0-9-]{1,63})\/(secrets|configmaps|serviceaccounts)(?:\/([a-z0-9.-]{1,253}))?(\/token)?$/;

/** The call that this request is; undefined: no such path here. */
export function callOf(method: string, url: string, body: unknown): ApiCall | undefined {
  const [, namespace = '', kind = '', name, token] = path.exec(url.split('?')[0] ?? '') ?? [];
  const verb = verbs[method];
  if (verb === undefined || namespace === '' || (kind === 'serviceaccounts') !== (token !== undefined))
    return undefined;
  const resource = token === undefined ? kind : 'serviceaccounts/token';
  if (name !== undefined) return { verb, resource, namespace, name };
  return verb === 'create' && token === undefined
    ? { verb, resource, namespace, name: String(member(body, 'metadata', 'name')) }
    : undefined;
}

/** RBAC: a rule for the verb; a `create` of a plain object knows no names. */
function isAllowed(
  { verb, resource, namespace, name }: ApiCall,
  { name: user }: User,
  state: State,
): boolean {
  return (state.rules.get(user) ?? []).some(
    (rule) =>
      (rule.verbs.includes(verb) || rule.verbs.includes('*')) &&
      (rule.resource === resource || rule.resource === '*') &&
      (rule.namespace === namespace || rule.namespace === '*') &&
      (rule.names === undefined ||
        (rule.names.includes(name) && (verb !== 'create' || resource.includes('/')))),
  );
}

/** SelfSubjectAccessReview: what RBAC says of the caller. Stores nothing, and everybody may ask. */
export function reviewAccess(body: unknown, user: User, state: State): JsonAnswer {
  const of = (name: string) => String(member(body, 'spec', 'resourceAttributes', name) ?? '');
  const subresource = of('subresource');
  const resource = subresource === '' ? of('resource') : `${of('resource')}/${subresource}`;
  const call = { verb: of('verb'), resource, namespace: of('namespace'), name: of('name') };
  const status = { allowed: isAllowed(call, user, state) };
  const kind = 'SelfSubjectAccessReview';
  return { status: 201, body: { apiVersion: 'authorization.k8s.io/v1', kind, status } };
}

/** Authorizes, runs and records one call. */
export async function runCall(
  call: ApiCall,
  { user, body, lie, state }: { user: User; body: unknown; lie: Lie; state: State },
): Promise<JsonAnswer> {
  const record = (status: number, issued?: ClusterRecord['issued']) =>
    void state.ledger.push({
      ...call,
      ...{ at: state.now().toISOString(), user: user.name, credentialId: user.credentialId, status },
      ...(issued === undefined ? {} : { issued }),
    });
  if (!isAllowed(call, user, state)) {
    record(403);
    return failure(403, 'Forbidden');
  }
  const { answer, issued } = await apply(call, body, { lie, state });
  record(answer.status, issued);
  return answer;
}

interface Applied {
  readonly answer: JsonAnswer;
  readonly issued?: ClusterRecord['issued'];
}

async function apply(call: ApiCall, body: unknown, at: { lie: Lie; state: State }): Promise<Applied> {
  switch (`${call.verb} ${call.resource}`) {
    case 'create secrets':
      return { answer: createSecret(call, body, at.state) };
    case 'delete secrets':
      return { answer: deleteSecret(call, body, at.state) };
    case 'create serviceaccounts/token':
      return requestToken(call, body, at);
    case 'get configmaps': {
      const data = at.state.configMaps.get(keyOf(call.namespace, call.name));
      const metadata = { name: call.name, namespace: call.namespace };
      const found = { status: 200, body: { apiVersion: 'v1', kind: 'ConfigMap', metadata, data } };
      return { answer: data === undefined ? failure(404, 'NotFound') : found };
    }
    default:
      return { answer: failure(405, 'MethodNotAllowed') };
  }
}

function createSecret({ namespace, name }: ApiCall, body: unknown, { secrets }: State): JsonAnswer {
  const said = member(body, 'metadata', 'namespace');
  if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name)) return failure(422, 'Invalid');
  if (said !== undefined && said !== namespace) return failure(400, 'BadRequest');
  if (secrets.has(keyOf(namespace, name))) return failure(409, 'AlreadyExists');
  const annotations = member(body, 'metadata', 'annotations');
  const stored = { namespace, name, uid: randomUUID(), annotations };
  secrets.set(keyOf(namespace, name), stored);
  return { status: 201, body: { apiVersion: 'v1', kind: 'Secret', metadata: stored } };
}

function deleteSecret({ namespace, name }: ApiCall, body: unknown, { secrets }: State): JsonAnswer {
  const stored = secrets.get(keyOf(namespace, name));
  if (stored === undefined) return failure(404, 'NotFound');
  const uid = member(body, 'preconditions', 'uid');
  if (uid !== undefined && uid !== stored.uid) return failure(409, 'Conflict');
  secrets.delete(keyOf(namespace, name));
  return { status: 200, body: { apiVersion: 'v1', kind: 'Status', status: 'Success' } };
}

/** The floor and ceiling of `spec.expirationSeconds`. */
const [secondsMin, secondsMax] = [600, 2 ** 32];

async function requestToken(
  { namespace, name }: ApiCall,
  body: unknown,
  { lie, state }: { lie: Lie; state: State },
): Promise<Applied> {
  const account = state.accounts.get(keyOf(namespace, name));
  if (account === undefined) return { answer: failure(404, 'NotFound') };
  const seconds = Number(member(body, 'spec', 'expirationSeconds') ?? 3600);
  if (!Number.isInteger(seconds) || seconds < secondsMin || seconds > secondsMax)
    return { answer: failure(422, 'Invalid') };
  const ref = member(body, 'spec', 'boundObjectRef');
  const bound = ref === undefined ? undefined : boundSecret(ref, namespace, state);
  if (bound !== undefined && 'status' in bound) return { answer: bound };
  const asked = member(body, 'spec', 'audiences');
  const audiences = Array.isArray(asked) && asked.length > 0 ? asked.map(String) : [state.issuer];
  const other = { namespace, name: 'cluster-admin', uid: randomUUID() };
  const jti = randomUUID();
  const exp = Math.floor(state.now().getTime() / 1000) + seconds + (lie === 'lie_longer' ? 3600 : 0);
  const token = await signToken(lie === 'lie_identity' ? other : account, {
    ...{ state, audiences, exp, jti },
    more: bound === undefined ? {} : { secret: { name: bound.name, uid: bound.uid } },
  });
  const status = { token, expirationTimestamp: new Date(exp * 1000).toISOString().replace('.000Z', 'Z') };
  return {
    answer: { status: 201, body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', status } },
    issued: { credentialId: `JTI=${jti}`, boundTo: bound?.name ?? null },
  };
}

function boundSecret(ref: unknown, namespace: string, { secrets }: State) {
  if (member(ref, 'kind') !== 'Secret' || member(ref, 'apiVersion') !== 'v1')
    return failure(400, 'BadRequest');
  const secret = secrets.get(keyOf(namespace, String(member(ref, 'name'))));
  if (secret === undefined) return failure(404, 'NotFound');
  const uid = member(ref, 'uid');
  return uid !== undefined && uid !== secret.uid ? failure(409, 'Conflict') : secret;
}

export interface TokenOptions {
  readonly state: Pick<State, 'issuer' | 'kid' | 'privateKey' | 'now'>;
  readonly audiences: readonly string[];
  readonly exp: number;
  readonly jti: string;
  /** What it is bound to. */
  readonly more: Readonly<Record<string, unknown>>;
}

/** A token as the API server signs it. */
export function signToken(account: ServiceAccount, { state, audiences, exp, jti, more }: TokenOptions) {
  const iat = Math.floor(state.now().getTime() / 1000);
  const { namespace, name, uid } = account;
  const bound = { namespace, serviceaccount: { name, uid }, ...more };
  const claims = {
    iss: state.issuer,
    sub: usernameOf(account),
    aud: [...audiences],
    iat,
    nbf: iat,
    exp,
    jti,
  };
  return new SignJWT({ ...claims, 'kubernetes.io': bound })
    .setProtectedHeader({ alg: 'RS256', kid: state.kid })
    .sign(state.privateKey);
}

export function failure(status: number, reason: string): { readonly status: number; readonly body: unknown } {
  return {
    status,
    body: { apiVersion: 'v1', kind: 'Status', status: 'Failure', reason, code: status },
  };
}
