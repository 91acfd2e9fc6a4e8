import { generateKeyPairSync, sign } from 'node:crypto';
import { bearerOf } from './authorize.ts';
import { denied, GcpError } from './errors.ts';
import type { Call } from './server.ts';
import { addToken, type ServiceAccount } from './state.ts';

const lifetimeSecondsMax = 3600;
const iamScopes = ['iam', 'cloud-platform'].map((name) => `https://www.googleapis.com/auth/${name}`);
const lieSeconds = 3600;

/** `generateAccessToken`: a token of the account, for a caller who may make its tokens. */
export function generateAccessToken(call: Call, email: string): unknown {
  const account = impersonated(call, email);
  const { scope, lifetime = '3600s' } = bodyOf(call);
  const seconds = Number(/^([0-9]+)s$/.exec(String(lifetime))?.[1]);
  if (!(seconds >= 1 && seconds <= lifetimeSecondsMax))
    throw new GcpError(400, 'INVALID_ARGUMENT', 'lifetime');
  if (!Array.isArray(scope) || scope.length === 0) throw new GcpError(400, 'INVALID_ARGUMENT', 'scope');
  const scopes = scope.map(String);
  call.trace.sent = { scopes, lifetime };
  const lie = call.fault === 'lie_longer' ? lieSeconds : 0;
  const expiresAt = new Date((Math.floor(call.now.getTime() / 1000) + seconds + lie) * 1000);
  const principal = { kind: 'account', email: account.email } as const;
  const accessToken = addToken(call.state, { principal, scopes, expiresAt, boundary: undefined });
  return { accessToken, expireTime: expiresAt.toISOString().replace('.000Z', 'Z') };
}

/** `signBlob`: RSA-SHA256 with the account's own key, so that URLs can be verified. */
export function signBlob(call: Call, email: string): unknown {
  const account = impersonated(call, email);
  const { payload } = bodyOf(call);
  if (typeof payload !== 'string') throw new GcpError(400, 'INVALID_ARGUMENT', 'payload');
  const bytes = Buffer.from(payload, 'base64');
  call.trace.sent = { payload: bytes.toString('utf8') };
  const lie = call.fault === 'lie_identity' ? generateKeyPairSync('ed25519').privateKey : undefined;
  const signedBlob = sign(lie ? null : 'sha256', bytes, lie ?? account.privateKey).toString('base64');
  return { keyId: account.keyId, signedBlob };
}

function impersonated(call: Call, email: string): ServiceAccount {
  const { state, trace } = call;
  trace.resource = email;
  const { principal, scopes } = bearerOf(call);
  if (!scopes.some((scope) => iamScopes.includes(scope))) throw denied('iam scope', email);
  const account = state.accounts.get(email);
  const name = principal.kind === 'federated' ? principal.name : `serviceAccount:${principal.email}`;
  if (account === undefined || account.disabled || !account.tokenCreators.has(name))
    throw denied('iam.serviceAccounts.getAccessToken', email);
  return account;
}

function bodyOf({ body }: Call): Record<string, unknown> {
  try {
    return Object(JSON.parse(body.toString('utf8')));
  } catch {
    throw new GcpError(400, 'INVALID_ARGUMENT', 'body');
  }
}
