import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, type JWK } from 'jose';
import { type Case, CaseFailed, expectIssued } from './case.ts';
import { type Answer, createWire, type Wire } from './http.ts';
import {
  type CertificateFiles,
  type Detail,
  type Endpoints,
  filled,
  type Issuer,
  type Profile,
} from './profile.ts';

export const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const deferredGrant = 'urn:ietf:params:oauth:grant-type:deferred';
const tokenTypes = 'urn:ietf:params:oauth:token-type:';
export const tokenType = {
  jwt: `${tokenTypes}jwt`,
  idToken: `${tokenTypes}id_token`,
  accessToken: `${tokenTypes}access_token`,
  refreshToken: `${tokenTypes}refresh_token`,
  saml2: `${tokenTypes}saml2`,
} as const;

export type Fields = Readonly<Record<string, string>>;
export type Claims = Readonly<Record<string, unknown>>;

export interface Wishes {
  /** Name of a descriptor of the profile; `plain`. */
  readonly detail?: string;
  /** Members over it. */
  readonly detailMore?: Detail;
  /** Text instead of it. */
  readonly detailText?: string;
  readonly subject?: string;
  /** A token instead of an assertion of the subject. */
  readonly token?: string;
  /** Parameters over the usual ones; an empty text takes one away. */
  readonly more?: Fields;
  /** Sent after all others, also when repeated. */
  readonly again?: readonly (readonly [string, string])[];
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** Over a connection with this certificate, or over TLS without any. */
  readonly wire?: Wire;
}

export interface AssertionWishes {
  readonly subject?: string;
  readonly claims?: Claims;
  readonly header?: Claims;
  readonly issuer?: Issuer;
  /** Another key than the issuer's. */
  readonly key?: JWK;
  readonly without?: readonly string[];
}

export interface ProofKey {
  readonly jkt: string;
  readonly jwk: JWK;
  proof(wishes?: ProofWishes): Promise<string>;
}

export interface ProofWishes {
  readonly claims?: Claims;
  readonly header?: Claims;
  readonly without?: readonly string[];
  readonly accessToken?: string;
  readonly signWith?: JWK;
}

/** What a case works with: the server under test, its profile, and good requests to start from. */
export interface Suite {
  readonly profile: Profile;
  readonly tokenUrl: string;
  /** `path` is a path under the issuer, or a whole address of it. */
  send(asked: {
    method?: string;
    path: string;
    headers?: Readonly<Record<string, string | string[]>>;
    body?: string;
    wire?: Wire;
  }): Promise<Answer>;
  /** The parameters of a good exchange, changed as wished. */
  form(wishes?: Wishes): Promise<URLSearchParams>;
  token(form: URLSearchParams | Fields, wishes?: Pick<Wishes, 'headers' | 'wire'>): Promise<Answer>;
  exchange(wishes?: Wishes): Promise<Answer>;
  /** A good exchange, or the case fails. */
  issued(wishes?: Wishes): Promise<Answer>;
  assertion(wishes?: AssertionWishes): Promise<string>;
  proofKey(): Promise<ProofKey>;
  introspect(token: string, options?: { subject?: string; authorization?: string | null }): Promise<Answer>;
  revoke(token: string, options?: { bearer?: string | null; hint?: string }): Promise<Answer>;
  metadata(): Promise<Answer>;
  /** The connection of a client with one of the two certificates, or with none. */
  tls(client: 0 | 1 | null, connections?: number): Wire;
}

const form = 'application/x-www-form-urlencoded';
const metadataPath = '/.well-known/oauth-authorization-server';
const lifeSeconds = 120;
const seconds = () => Math.floor(Date.now() / 1000);

/** A suite against `base`, which serves what the profile's issuer serves: a proxy or a port-forward, or the issuer itself. */
export function createSuite(
  profile: Profile,
  options: { base?: string; mtlsBase?: string } = {},
): Suite & { close(): void } {
  const { base = profile.issuer, mtlsBase = profile.mtls?.base } = options;
  const { endpoints } = profile;
  const plainWire = createWire(readCa(profile));
  const wires: Wire[] = [plainWire];
  const addressOf = (path: string, wire: Wire) => {
    const under = path.startsWith(`${profile.issuer}/`) ? path.slice(profile.issuer.length) : path;
    if (!under.startsWith('/')) return under;
    return `${wire === plainWire ? base : mtlsBase}${under}`;
  };
  const send: Suite['send'] = ({ method = 'GET', path, headers = {}, body = '', wire = plainWire }) =>
    wire.send({ method, url: addressOf(path, wire), headers, body });
  const postForm = (path: string, fields: URLSearchParams | Fields, more: Pick<Wishes, 'headers' | 'wire'>) =>
    send({
      method: 'POST',
      path,
      body: String(new URLSearchParams(fields)),
      headers: { 'content-type': form, ...more.headers },
      ...(more.wire === undefined ? {} : { wire: more.wire }),
    });
  const assertion: Suite['assertion'] = (wishes = {}) => makeAssertion(profile, wishes);
  const suite: Suite = {
    profile,
    tokenUrl: absolute(endpoints.token, profile),
    send,
    form: async (wishes = {}) => makeForm(profile, assertion, wishes),
    token: (fields, more = {}) => postForm(endpoints.token, fields, more),
    exchange: async (wishes = {}) => suite.token(await suite.form(wishes), wishes),
    issued: async (wishes = {}) => expectIssued(await suite.exchange(wishes)),
    assertion,
    proofKey: () => makeProofKey(absolute(endpoints.token, profile)),
    introspect: async (token, { subject = profile.resourceServers[0].subject, authorization } = {}) => {
      const bearer = authorization ?? `Bearer ${await assertion({ subject })}`;
      const headers: Record<string, string> = authorization === null ? {} : { authorization: bearer };
      return postForm(endpoints.introspection, { token }, { headers });
    },
    revoke: async (token, { bearer, hint } = {}) => {
      const shown = bearer === undefined ? await assertion() : bearer;
      const headers: Record<string, string> = shown === null ? {} : { authorization: `Bearer ${shown}` };
      return postForm('/revoke', hint === undefined ? { token } : { token, token_type_hint: hint }, {
        headers,
      });
    },
    metadata: () => send({ path: metadataPath }),
    tls: (client, connections) => {
      const files = client === null ? undefined : profile.mtls?.clients[client];
      const wire = createWire({
        ...readCa(profile),
        ...(files === undefined ? {} : { client: readCertificate(files) }),
        ...(connections === undefined ? {} : { connections }),
      });
      wires.push(wire);
      return wire;
    },
  };
  const close = () => {
    for (const wire of wires) wire.close();
  };
  return { ...suite, close };
}

const members = {
  token: 'token_endpoint',
  introspection: 'introspection_endpoint',
  revocation: 'revocation_endpoint',
  jwks: 'jwks_uri',
} as const;

/** The profile with the endpoints that it does not name, as the server's metadata has them. */
export async function discover(profile: Profile, base = profile.issuer): Promise<Profile> {
  const wire = createWire(readCa(profile));
  try {
    const url = `${base}${metadataPath}`;
    const { body } = await wire.send({ method: 'GET', url, headers: {}, body: '' });
    // What is neither named nor listed is asked for where it cannot be, and its cases fail.
    const found = (name: keyof Endpoints) =>
      profile.endpoints[name] ?? String(body[members[name]] ?? `/${members[name]}-is-not-in-the-metadata`);
    const endpoints = {
      ...{ token: found('token'), introspection: found('introspection') },
      ...{ revocation: found('revocation'), jwks: found('jwks') },
    };
    return { ...profile, endpoints };
  } finally {
    wire.close();
  }
}

function absolute(endpoint: string, { issuer }: Profile): string {
  return endpoint.startsWith('/') ? `${issuer}${endpoint}` : endpoint;
}

function readCa({ caFile }: Profile): { ca?: string } {
  return caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') };
}

export function readCertificate({ certFile, keyFile }: CertificateFiles) {
  return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
}

async function makeForm(
  profile: Profile,
  assertion: Suite['assertion'],
  wishes: Wishes,
): Promise<URLSearchParams> {
  const { detail = 'plain', detailMore = {}, subject, token, more = {}, again = [] } = wishes;
  const named = profile.details[detail];
  if (named === undefined && wishes.detailText === undefined)
    throw new Error(`the profile has no detail ${detail}`);
  const asked = { ...filled(named ?? {}, randomUUID()), ...detailMore };
  const fields = new URLSearchParams({
    grant_type: exchangeGrant,
    subject_token: token ?? (await assertion(subject === undefined ? {} : { subject })),
    subject_token_type: tokenType.jwt,
    authorization_details: wishes.detailText ?? JSON.stringify([asked]),
  });
  for (const [name, value] of Object.entries(more))
    if (value === '') fields.delete(name);
    else fields.set(name, value);
  for (const [name, value] of again) fields.append(name, value);
  return fields;
}

async function makeAssertion(profile: Profile, wishes: AssertionWishes): Promise<string> {
  const {
    subject = profile.subjects.agent,
    issuer = profile.issuers.main,
    claims = {},
    header = {},
  } = wishes;
  const iat = seconds();
  const all: Record<string, unknown> = {
    ...{ iss: issuer.issuer, sub: subject, aud: issuer.audience },
    ...{ iat, exp: iat + lifeSeconds, jti: randomUUID() },
    ...claims,
  };
  for (const name of wishes.without ?? []) delete all[name];
  return signed(all, { typ: 'JWT', ...header }, wishes.key ?? issuer.key);
}

/**
 * Signs whatever it is told to, also what no library would: `none`, a public key as an HMAC secret, unknown `crit`.
 * `alg` is the key's unless the header names another.
 */
export function signed(claims: Claims, header: Claims, key: JWK): string {
  const { alg = 'ES256', kid } = key;
  const protectedHeader: Claims = { alg, ...(kid === undefined ? {} : { kid }), ...header };
  const input = `${encode(protectedHeader)}.${encode(claims)}`;
  return `${input}.${signatureOf(input, String(protectedHeader['alg']), key)}`;
}

function signatureOf(input: string, alg: string, key: JWK): string {
  if (alg === 'none') return '';
  if (alg === 'HS256')
    return createHmac(
      'sha256',
      createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' }),
    )
      .update(input)
      .digest('base64url');
  const privateKey = createPrivateKey({ key, format: 'jwk' });
  return sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString(
    'base64url',
  );
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

export function newKey(kid?: string): JWK {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    ...privateKey.export({ format: 'jwk' }),
    alg: 'ES256',
    ...(kid === undefined ? {} : { kid }),
  } as JWK;
}

export function publicOf({ d, p, q, dp, dq, qi, k, ...rest }: JWK): JWK {
  return rest;
}

async function makeProofKey(url: string): Promise<ProofKey> {
  const key = newKey();
  const { alg, ...jwk } = publicOf(key);
  return {
    jkt: await calculateJwkThumbprint(jwk),
    jwk,
    proof: async ({ claims = {}, header = {}, without = [], accessToken, signWith = key } = {}) => {
      const ath = accessToken === undefined ? {} : { ath: thumbprint(accessToken) };
      const all: Record<string, unknown> = {
        ...{ jti: randomUUID(), htm: 'POST', htu: url, iat: seconds() },
        ...ath,
        ...claims,
      };
      for (const name of without) delete all[name];
      const { kid, ...bare } = signWith;
      return signed(all, { typ: 'dpop+jwt', jwk, ...header }, bare);
    },
  };
}

export function thumbprint(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}

/** Claims of the token of an answer, without looking at its signature; the case fails when it is none. */
export function claimsOf(answer: Answer): Claims {
  try {
    return decodeJwt(String(answer.body['access_token']));
  } catch {
    throw new CaseFailed(`sent ${answer.sent}; expected a JWT as access_token; came none`);
  }
}

export function textOf(answer: Answer, name: string): string {
  const value = answer.body[name];
  if (typeof value === 'string') return value;
  throw new CaseFailed(`sent ${answer.sent}; expected the text ${name}; came ${typeof value}`);
}

/** A member of a member; undefined where there is none. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((inner, name) => Reflect.get(Object(inner), name), value);
}

export function isLeftOut({ needs = [], needsMember }: Case, profile: Profile): string | undefined {
  const missing: string[] = needs.filter((one) => !profile.features.includes(one));
  if (needsMember !== undefined && profile[needsMember] === undefined) missing.push(needsMember);
  return missing.length === 0 ? undefined : `the profile has no ${missing.join(', ')}`;
}

export function decodeHeader(token: string): Claims {
  try {
    return decodeProtectedHeader(token);
  } catch {
    throw new CaseFailed('expected a JWT; came none');
  }
}
