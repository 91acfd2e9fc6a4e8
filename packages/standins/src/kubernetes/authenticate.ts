import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose';
import { member } from '../json-api.ts';
import { type State, usernameOf } from './state.ts';

export interface User {
  readonly name: string;
  readonly credentialId: string | null;
}

const fetchTimeoutMs = 3_000;

/** Who shows this token to the API server; undefined: nobody (401). */
export async function authenticate(token: string, state: State): Promise<User | undefined> {
  if (token === state.brokerToken) return { name: brokerName, credentialId: null };
  const issuer = issuerOf(token);
  if (issuer === state.issuer) return ofServiceAccount(token, state);
  const trusted = state.trusted.find((one) => one.issuer === issuer);
  if (trusted === undefined) return undefined;
  const remembered = recall(token, state);
  if (remembered !== undefined) return { name: remembered, credentialId: null };
  try {
    const keys = createLocalJWKSet(await keysOf(trusted.issuer));
    const { payload } = await jwtVerify(token, keys, { ...trusted, currentDate: state.now() });
    if (payload.sub === undefined) return undefined;
    remember(token, payload.sub, state);
    return { name: payload.sub, credentialId: null };
  } catch {
    return undefined;
  }
}

/** The user of the token that the broker's own pod would have. */
export const brokerName = 'system:serviceaccount:mayfly:broker';

/** Once a token was good, its user is remembered for a while, whatever happens to what it was made with. */
function remember(token: string, user: string, { seen, now, rememberMs }: State): void {
  seen.set(token, { user, until: now().getTime() + rememberMs });
}

function recall(token: string, { seen, now }: State): string | undefined {
  const known = seen.get(token);
  return known !== undefined && known.until > now().getTime() ? known.user : undefined;
}

/** A token of a service account for this API server. */
async function ofServiceAccount(token: string, state: State): Promise<User | undefined> {
  const credentialId = `JTI=${String(member(decodeJwt(token), 'jti'))}`;
  const remembered = recall(token, state);
  if (remembered !== undefined) return { name: remembered, credentialId };
  const verified = await verifyAccountToken(token, [state.issuer], state);
  if (verified === undefined) return undefined;
  remember(token, verified.username, state);
  return { name: verified.username, credentialId };
}

export interface Verified {
  readonly username: string;
  readonly uid: string;
  readonly audiences: readonly string[];
  readonly pod: { readonly name: string; readonly uid: string } | undefined;
}

/** Signature, time, audience, and whether account and bound object are there, the same ones as then. */
export async function verifyAccountToken(
  token: string,
  audiences: readonly string[],
  state: State,
): Promise<Verified | undefined> {
  try {
    const { issuer, publicKey } = state;
    const options = { issuer, algorithms: ['RS256'], currentDate: state.now() };
    const { payload } = await jwtVerify(token, publicKey, options);
    const bound: unknown = payload['kubernetes.io'];
    const uidOf = (kind: string) => String(member(bound, kind, 'uid'));
    const known = [payload.aud ?? []].flat().filter((one) => audiences.includes(one));
    const account = [...state.accounts.values()].find(({ uid }) => uid === uidOf('serviceaccount'));
    if (account === undefined || known.length === 0 || usernameOf(account) !== payload.sub) return undefined;
    const pod = state.pods.get(uidOf('pod'));
    if (member(bound, 'pod') !== undefined && pod === undefined) return undefined;
    const secret = [...state.secrets.values()].find(({ uid }) => uid === uidOf('secret'));
    if (member(bound, 'secret') !== undefined && secret === undefined) return undefined;
    return { username: usernameOf(account), uid: account.uid, audiences: known, pod };
  } catch {
    return undefined;
  }
}

function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

/** As an API server does: by the discovery document of the exact issuer. */
async function keysOf(issuer: string): Promise<JSONWebKeySet> {
  const signal = AbortSignal.timeout(fetchTimeoutMs);
  const discovery: unknown = await (
    await fetch(`${issuer}/.well-known/openid-configuration`, { signal })
  ).json();
  if (member(discovery, 'issuer') !== issuer) throw new TypeError('another issuer');
  const keys = await (await fetch(String(member(discovery, 'jwks_uri')), { signal })).json();
  return keys as JSONWebKeySet; // jose checks every member that it uses.
}
