import { inspect } from 'node:util';
import { expect } from '@jest/globals';
import { type Attestor, Fault, Refusal, type TrustedIssuer, type Workload } from '@mayfly/core';
import { compact, makeKey, type TestKey } from '../signer.ts';
import { pattern } from '../world.ts';

/** A token as its provider documents it; everything but the signature. */
export interface GoldenToken {
  /** The page that shows it, and what was changed there so that it is a token for us. */
  readonly source: string;
  readonly changed: string;
  readonly now: string;
  /** Over the defaults; `subjects` are patterns. */
  readonly issuer: Partial<Omit<TrustedIssuer, 'subjects'>> & {
    readonly issuer: string;
    readonly subjects: readonly string[];
  };
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly claims: Workload['claims'];
}

export interface AttestorUnderTest {
  readonly golden: GoldenToken;
  /** What it reads is the issuer's key set, whatever the path. */
  create(issuer: TrustedIssuer, readFile: (path: string) => Promise<string>): Attestor;
  /** How the issuer marks its signing keys. */
  readonly keyUse: 'sig' | 'jwt-svid';
  /** False where `iss` and `iat` may be missing. */
  readonly needsIssAndIat: boolean;
}

export interface Forgery {
  readonly header?: Readonly<Record<string, unknown>>;
  /** Over the golden claims; undefined leaves one out. Text replaces all of them. */
  readonly payload?: Readonly<Record<string, unknown>> | string;
  readonly key?: TestKey;
}

const keys = { RS256: makeKey('RS256', 'rs'), ES256: makeKey('ES256', 'es') };

/** One attestor, its issuer's keys, and whatever token somebody could make. */
export class AttestorScene {
  readonly subject: AttestorUnderTest;
  readonly issuer: TrustedIssuer;
  readonly now: Date;
  readonly es = keys.ES256;
  /** The key that signs the golden token. */
  readonly key: TestKey;
  /** What the issuer publishes now; null when it is down. */
  published: readonly unknown[] | null;
  reads = 0;
  readonly #attestor: Attestor;

  constructor(subject: AttestorUnderTest, more: Partial<TrustedIssuer> = {}) {
    const { golden } = subject;
    this.subject = subject;
    this.now = new Date(golden.now);
    this.key = golden.header['alg'] === 'ES256' ? keys.ES256 : keys.RS256;
    this.issuer = { ...trustedIssuer(golden), ...more };
    this.published = [this.publish(keys.RS256), this.publish(keys.ES256)];
    this.#attestor = subject.create(this.issuer, async () => {
      this.reads += 1;
      if (this.published === null) throw new Error('the issuer is down');
      return JSON.stringify({ keys: this.published });
    });
  }

  publish(key: TestKey): Readonly<Record<string, unknown>> {
    return { ...key.jwk, use: this.subject.keyUse };
  }

  token({ header = {}, payload = {}, key = this.key }: Forgery = {}): string {
    const { golden } = this.subject;
    const stated = { ...golden.header, alg: key.alg, kid: key.kid, ...header };
    return compact(stated, typeof payload === 'string' ? payload : { ...golden.payload, ...payload }, key);
  }

  attest(token: string, afterSeconds = 0): Promise<Workload> {
    const now = new Date(this.now.getTime() + afterSeconds * 1000);
    return this.#attestor.attest(token, { now, signal: new AbortController().signal });
  }

  /** `accepted`, or the reason; no error holds anything of the token. */
  async outcome(token: string, afterSeconds = 0): Promise<string> {
    try {
      await this.attest(token, afterSeconds);
      return 'accepted';
    } catch (error) {
      const shown = inspect(error, { depth: 8, showHidden: true });
      const { sub, jti } = this.subject.golden.payload;
      for (const secret of [...token.split('.'), sub, jti])
        if (typeof secret === 'string' && secret.length > 8) expect(shown).not.toContain(secret);
      if (error instanceof Refusal) return error.reason;
      return error instanceof Fault ? `${error.reason} (${error.effect})` : `bare error: ${shown}`;
    }
  }
}

function trustedIssuer({ issuer }: GoldenToken): TrustedIssuer {
  return {
    name: 'golden',
    type: 'oidc',
    audience: 'https://mayfly.example',
    jwksUri: null,
    jwksFile: 'keys.json',
    bundleUrl: null,
    bundleFile: 'keys.json',
    caFile: null,
    tokenFile: null,
    tokenReview: null,
    pullRequests: 'refuse',
    algorithms: ['ES256', 'RS256'],
    claims: [],
    maxLifetimeSeconds: 3600,
    replay: 'once',
    people: false,
    events: null,
    ...issuer,
    subjects: issuer.subjects.map(pattern),
  };
}
