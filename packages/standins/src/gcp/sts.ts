import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { parseBoundary } from './boundary.ts';
import { GcpError } from './errors.ts';
import type { Call } from './server.ts';
import { addToken, type PoolProvider } from './state.ts';

const uri = 'urn:ietf:params:oauth:token-type';
const federatedSeconds = 3600;
const fetchTimeoutMs = 3_000;
/** Google's own limit of google.subject. */
const subjectBytesMax = 127;

/** `POST /v1/token`: an assertion of a registered issuer, or an access token and a boundary. */
export function exchange(call: Call): Promise<unknown> | unknown {
  const form = new URLSearchParams(call.body.toString('utf8'));
  const expected = (name: string, value: string) => {
    if (form.get(name) !== value) throw new GcpError(400, 'invalid_request', `bad ${name}`);
  };
  expected('grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange');
  expected('requested_token_type', `${uri}:access_token`);
  return form.has('options') ? downscope(form, call) : federate(form, call);
}

async function federate(form: URLSearchParams, { state, now, trace }: Call): Promise<unknown> {
  const resource = (form.get('audience') ?? '').replace(/^\/\/iam\.googleapis\.com\//, '');
  const pool = state.pools.get(resource);
  const type = form.get('subject_token_type');
  if (pool === undefined || type !== `${uri}:jwt`) throw new GcpError(400, 'invalid_request', 'unknown pool');
  const subject = await subjectOf(form.get('subject_token') ?? '', pool, now);
  const [project = ''] = resource.split('/providers/');
  const name = `principal://iam.googleapis.com/${project}/subject/${subject}`;
  trace.principal = name;
  const scopes = (form.get('scope') ?? '').split(' ').filter((one) => one !== '');
  trace.sent = { scopes };
  const expiresAt = new Date(now.getTime() + federatedSeconds * 1000);
  const token = addToken(state, {
    principal: { kind: 'federated', name },
    scopes,
    expiresAt,
    boundary: undefined,
  });
  return answer(token, federatedSeconds);
}

async function subjectOf(assertion: string, pool: PoolProvider, now: Date): Promise<string> {
  const keys = await fetchKeys(pool.issuer);
  const { payload } = await jwtVerify(assertion, keys, {
    issuer: pool.issuer,
    audience: [...pool.audiences],
    algorithms: ['RS256', 'ES256'],
    requiredClaims: ['exp', 'iat', 'sub', 'aud'],
    currentDate: now,
  }).catch(() => {
    throw new GcpError(400, 'invalid_grant', 'the assertion is not valid');
  });
  const subject = String(payload.sub);
  if (Buffer.byteLength(subject) > subjectBytesMax)
    throw new GcpError(400, 'invalid_grant', 'subject is too long');
  return subject;
}

/** A boundary narrows a service account's token once; what comes out ends with it. */
function downscope(form: URLSearchParams, { state, now, trace, fault }: Call): unknown {
  const source = state.tokens.get(form.get('subject_token') ?? '');
  if (
    form.get('subject_token_type') !== `${uri}:access_token` ||
    source === undefined ||
    source.expiresAt <= now
  )
    throw new GcpError(400, 'invalid_grant', 'the token is not valid');
  if (source.principal.kind !== 'account' || source.boundary !== undefined)
    throw new GcpError(400, 'invalid_request', 'this token cannot be narrowed');
  trace.principal = source.principal.email;
  const options = form.get('options') ?? '';
  trace.sent = { options };
  const narrowed = addToken(state, { ...source, boundary: parseBoundary(options) });
  const token = fault === 'lie_identity' ? (form.get('subject_token') ?? '') : narrowed;
  return answer(token, Math.floor((source.expiresAt.getTime() - now.getTime()) / 1000));
}

function answer(token: string, expiresIn: number) {
  return {
    access_token: token,
    issued_token_type: `${uri}:access_token`,
    token_type: 'Bearer',
    expires_in: expiresIn,
  };
}

async function fetchKeys(issuer: string) {
  try {
    const discovery = await fetchJson(`${issuer}/.well-known/openid-configuration`);
    if (Reflect.get(Object(discovery), 'issuer') !== issuer) throw new TypeError('another issuer');
    const jwks = await fetchJson(String(Reflect.get(Object(discovery), 'jwks_uri')));
    return createLocalJWKSet(jwks as JSONWebKeySet); // jose checks the form.
  } catch {
    throw new GcpError(400, 'invalid_grant', 'the keys of the issuer cannot be read');
  }
}

async function fetchJson(url: string): Promise<unknown> {
  const answered = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(fetchTimeoutMs) });
  if (!answered.ok) throw new TypeError(`answered ${answered.status}`);
  return answered.json();
}
