import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK, type JWK } from 'jose';
import { objectOf } from '../http.ts';
import type { Issuer, Profile } from '../profile.ts';
import { type Claims, publicOf } from '../suite.ts';
import { editForm, onToken } from './moves.ts';
import type { Ask, Seen, Tools } from './mutant.ts';

type Fault = string;
const now = () => Math.floor(Date.now() / 1000);

/**
 * A server that does not look at one thing of an assertion: where exactly these are wrong, and nothing else, it is made
 * anew without them. So a case that is about something else than it says does not fail against the mutant.
 */
export function blindTo(faults: readonly Fault[], parameter = 'subject_token'): Ask {
  return editForm(async (fields, _, { profile, suite }) => {
    const token = fields.get(parameter) ?? '';
    const found = await faultsOfAssertion(token, profile);
    if (found.length === 0 || !found.every((one) => faults.includes(one))) return;
    const { sub, may_act, ...rest } = objectOf(decoded(token, 1));
    const issuer = issuerFor(rest, sub, profile);
    const subject = found.includes('trust domain') ? profile.platformClaims['spiffe']?.['sub'] : sub;
    const claims = {
      ...rest,
      ...repaired(issuer),
      sub: subject,
      ...(may_act === undefined ? {} : { may_act }),
    };
    fields.set(parameter, await suite.assertion({ issuer, claims }));
  });
}

/** A server that does not look at these claims of a platform's token: where nothing else differs, a good one goes in. */
export function blindToClaims(platform: string, names: readonly string[]): Ask {
  return editForm(async (fields, _, { profile, suite }) => {
    const claims = objectOf(decoded(fields.get('subject_token') ?? '', 1));
    const good = profile.platformClaims[platform] ?? {};
    const all = new Set(
      [...Object.keys(claims), ...Object.keys(good)].filter((name) => !registered.has(name)),
    );
    const wrong = [...all].filter((name) => JSON.stringify(claims[name]) !== JSON.stringify(good[name]));
    const issuer = Object.entries(profile.issuers).find(([name]) => name === platform)?.[1];
    if (issuer === undefined || wrong.length === 0 || !wrong.every((name) => names.includes(name))) return;
    fields.set('subject_token', await suite.assertion({ issuer, claims: good }));
  });
}

const registered = new Set(['iss', 'aud', 'iat', 'exp', 'nbf', 'jti']);

function repaired({ issuer, audience }: Issuer): Claims {
  return {
    iss: issuer,
    aud: audience,
    iat: now(),
    exp: now() + 100,
    nbf: now(),
    jti: crypto.randomUUID(),
    act: undefined,
    cnf: undefined,
  };
}

function issuerFor({ iss }: Claims, sub: unknown, { issuers }: Profile): Issuer {
  const all = Object.values(issuers).filter((one) => one !== undefined);
  const byTrustDomain = String(sub).startsWith('spiffe:') ? issuers.spiffe : undefined;
  return byTrustDomain ?? all.find(({ issuer }) => issuer === iss) ?? issuers.main;
}

/** What is wrong with an assertion, by the word of each rule; empty when it is good, or no JWT at all. */
export async function faultsOfAssertion(token: string, profile: Profile): Promise<readonly Fault[]> {
  const [header, claims] = [objectOf(decoded(token, 0)), objectOf(decoded(token, 1))];
  if (Object.keys(header).length === 0) return ['form'];
  const issuer = issuerFor(claims, claims['sub'], profile);
  const { exp, iat, nbf, jti } = claims;
  const isSvid = issuer === profile.issuers.spiffe;
  const unknown = Object.keys(header).filter((name) => !['alg', 'kid', 'typ'].includes(name));
  const [audience, ...others] = [claims['aud']].flat();
  const known: readonly (readonly [boolean, Fault])[] = [
    [header['alg'] !== 'ES256', 'alg'],
    [unknown.length > 0, 'header'],
    [!['JWT', undefined].includes(header['typ'] as string) && !(isSvid && header['typ'] === 'JOSE'), 'typ'],
    [claims['iss'] !== issuer.issuer && !isSvid, 'iss'],
    [audience !== issuer.audience, 'aud'],
    [others.length > 0, 'aud list'],
    [exp === undefined, 'no exp'],
    [iat === undefined && !isSvid, 'no iat'],
    [Number(exp) <= now() - 30, 'exp'],
    [Number(iat) > now() + 30, 'iat'],
    [Number(nbf) > now() + 30, 'nbf'],
    [Number(exp) - Number(iat ?? now()) > issuer.lifetimeSecondsMax, 'lifetime'],
    [jti === undefined && issuer === profile.issuers.main, 'no jti'],
    [claims['act'] !== undefined, 'act'],
    [claims['cnf'] !== undefined, 'cnf'],
    [isSvid && !String(claims['sub']).startsWith(`${issuer.issuer}/`), 'trust domain'],
    [header['alg'] === 'ES256' && !(await isSignedBy(token, issuer.key)), 'signature'],
  ];
  return known.filter(([isWrong]) => isWrong).map(([, name]) => name);
}

/** The same for a proof: made anew by a key of the mutant's own. */
export function blindToProof(faults: readonly Fault[]): Ask {
  return async (seen, tools) => {
    const { dpop } = seen.headers;
    if (!onToken(seen, { status: 0, headers: {}, body: '' })) return seen;
    const found = await faultsOfProof(dpop, tools.profile);
    if (found.length === 0 || !found.every((one) => faults.includes(one))) return seen;
    return withProof(seen, tools);
  };
}

export async function withProof(seen: Seen, { suite }: Tools): Promise<Seen> {
  const key = await suite.proofKey();
  return { ...seen, headers: { ...seen.headers, dpop: await key.proof() } };
}

export async function faultsOfProof(
  dpop: string | string[] | undefined,
  { issuer }: Profile,
): Promise<readonly Fault[]> {
  if (dpop === undefined) return ['missing'];
  if (typeof dpop !== 'string') return ['two headers'];
  const [header, claims] = [objectOf(decoded(dpop, 0)), objectOf(decoded(dpop, 1))];
  if (Object.keys(header).length === 0) return ['form'];
  const jwk = header['jwk'];
  const missing = ['jti', 'htm', 'htu', 'iat'].filter((name) => claims[name] === undefined);
  const { htm, htu, iat, nonce } = claims;
  const [target] = String(htu).split(/[?#]/);
  const known: readonly (readonly [boolean, Fault])[] = [
    [header['typ'] !== 'dpop+jwt', 'typ'],
    [header['alg'] !== 'ES256', 'alg'],
    [jwk === undefined, 'no jwk'],
    [Object.hasOwn(Object(jwk), 'd'), 'private'],
    [missing.length > 0, 'claims'],
    [htm !== undefined && htm !== 'POST', 'htm'],
    [htu !== undefined && target !== `${issuer}/token`, 'htu'],
    [iat !== undefined && nonce === undefined && Math.abs(Number(iat) - now()) > 60, 'iat'],
    [header['alg'] === 'ES256' && jwk !== undefined && !(await isSignedBy(dpop, Object(jwk))), 'signature'],
  ];
  return known.filter(([isWrong]) => isWrong).map(([, name]) => name);
}

export async function keyOfProof(dpop: string): Promise<string> {
  return calculateJwkThumbprint(Object(decodeProtectedHeader(dpop)).jwk);
}

async function isSignedBy(token: string, key: JWK): Promise<boolean> {
  const { kid, ...bare } = publicOf(key);
  const { kid: named } = objectOf(decoded(token, 0));
  if (kid !== undefined && named !== undefined && named !== kid) return false;
  // What is said of `crit` is another fault than the signature.
  const { crit, b64, ...header } = objectOf(decoded(token, 0));
  if (crit !== undefined) return true;
  return compactVerify(token, await importJWK(bare, String(header['alg']))).then(
    () => true,
    () => false,
  );
}

function decoded(token: string, part: 0 | 1): string {
  return Buffer.from(token.split('.')[part] ?? '', 'base64url').toString('utf8');
}
