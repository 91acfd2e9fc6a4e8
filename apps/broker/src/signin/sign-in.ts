import type { AttestorOptions } from '@mayfly/attestors';
import { type Attested, auditEvent, type Identity, type NewId, type PolicySet, Refusal } from '@mayfly/core';
import type { SignedIn, SignInRows } from '@mayfly/store';
import Provider from 'oidc-provider';
import type { Config } from '../config.ts';
import type { Reply } from '../http/errors.ts';
import type { RawRequest } from '../http/request.ts';
import type { Keyring } from '../keys/keyring.ts';
import { clientsOf } from './clients.ts';
import { createDriver, type Driver } from './drive.ts';
import { metadataOf } from './metadata.ts';
import { parsePerson, personInForce } from './person.ts';
import { createProvider } from './provider.ts';
import { createRecorder, type RecorderOptions } from './record.ts';
import { postRevoke } from './revoke.ts';
import { pageRoutes, type SignInRoute } from './routes.ts';
import { createStarts } from './starts.ts';
import { postSignInToken, takesForm } from './token.ts';
import { createUpstream, readClientSecret, type Upstream } from './upstream.ts';

/** People's sign-in: oidc-provider behind our routes, on the same issuer and URL. */
export interface SignIn {
  /** Paths beside /token; each is mounted as every other route. */
  readonly routes: readonly SignInRoute[];
  /** One grant_type, and one of those that the provider serves. */
  takes(form: URLSearchParams): boolean;
  /** `POST /token` of such a form. Audits its own refusals. */
  token(request: RawRequest, form: URLSearchParams): Promise<Reply>;
  /** `POST /revoke` of a person's token; what is no such token changes nothing. */
  revoke(request: RawRequest, form: URLSearchParams): Promise<Reply>;
  /** By its form alone: opaque, where every other bearer is a JWT. */
  isToken(bearer: string): boolean;
  /** Whose token this is, by the policy in force. Refusal `unauthenticated` when it is nobody's. */
  identify(token: string, policy: PolicySet): Promise<Person>;
  /** What sign-in adds to the discovery document; lists are to be joined. */
  metadata(): ReturnType<typeof metadataOf>;
}

export interface SignInOptions extends RecorderOptions {
  readonly config: Config;
  /** `signInIssuer`. */
  readonly issuerName: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly rows: SignInRows;
  readonly newId: NewId;
  readonly attestors: AttestorOptions;
  policy(): Promise<PolicySet>;
  keyring(): Keyring;
  /** From which the keys of rows, cookies and links are made. */
  secret(): Buffer;
  now(): Date;
}

/** Who signed in, and when the provider said so. */
export interface Person {
  readonly identity: Identity;
  readonly attested: Attested;
}

/** What the handlers of one installation share. */
export interface Parts extends SignInOptions {
  readonly upstream: Upstream;
  readonly record: ReturnType<typeof createRecorder>;
  readonly starts: ReturnType<typeof createStarts>;
  /** The provider of the keys of this moment. */
  current(): { readonly provider: Provider; readonly driver: Driver };
}

/** Opaque, of oidc-provider's alphabet and length: no JWT, which has dots. */
const tokenForm = /^[A-Za-z0-9_-]{43}$/;

/** Throws ConfigError where the client secret cannot be had: a reference to nothing stops the start. */
export function createSignIn(options: SignInOptions): SignIn {
  const { config } = options;
  readClientSecret(options);
  const record = createRecorder(options);
  const parts: Parts = {
    ...options,
    record,
    upstream: createUpstream(options),
    starts: createStarts({ perSecond: config.signInStartsPerSecond, now: options.now }),
    current: createCurrent(options, record),
  };
  const clients = clientsOf(config);
  return {
    routes: pageRoutes(parts, clients),
    takes: (form) => takesForm(form, clients),
    token: (request, form) => postSignInToken(parts, request, form),
    revoke: (request, form) => postRevoke(parts, request, form),
    isToken: (bearer) => tokenForm.test(bearer),
    identify: (token, policy) => identify(parts, token, policy),
    metadata: () => metadataOf(config.issuer, clients),
  };
}

/** Keys change, a provider does not: a new one takes its place, and what it must know lies in the rows. */
function createCurrent(options: SignInOptions, record: Parts['record']): Parts['current'] {
  let made: { readonly keys: string; readonly provider: Provider; readonly driver: Driver } | undefined;
  return () => {
    const [ring, now] = [options.keyring(), options.now()];
    const { kid } = ring.signer('sign-in', now);
    // The first one signs; the others verify what they signed before, or are published for what they will sign.
    const keys = [...ring.verifiers('sign-in', now)].sort(
      (one, other) => Number(other.kid === kid) - Number(one.kid === kid),
    );
    const wanted = keys.map((key) => key.kid).join(' ');
    if (made?.keys === wanted) return made;
    const provider = createProvider({
      ...options,
      keys,
      secret: options.secret(),
      issued: (token) => issued(options, token),
      stands: (source) => stands(options, source),
      cancelled: (context) =>
        record(new Refusal('sign_in_denied', { detail: 'cancelled on the page of the code' }), {
          requestId: context.get('x-request-id'),
          client: context.oidc.client?.clientId ?? null,
        }),
    });
    made = { keys: wanted, provider, driver: createDriver(provider, options.config.issuer) };
    return made;
  };
}

/** Written in the transaction that makes the token. */
function issued({ newId, now }: SignInOptions, token: Readonly<Record<string, unknown>>) {
  const client = String(token['clientId']);
  const requestId = Provider.ctx?.get('x-request-id') ?? null;
  const body = { requestId, client, flow: String(token['gty']) };
  const actor = String(token['accountId']);
  return auditEvent({ newId, now: now() }, { type: 'signin.succeeded', actor, body });
}

/** Between sign-in and token the policy may have changed: the last look is here. */
async function stands({ rows, policy, issuerName }: SignInOptions, source: unknown): Promise<boolean> {
  const grantId: unknown = Reflect.get(Object(source), 'grantId');
  // On the way through the browser there is no code yet; the person was looked at just before.
  if (typeof grantId !== 'string') return true;
  const stored = await rows.find('Person', grantId);
  if (stored === undefined) return false;
  try {
    personInForce(parsePerson(stored.payload), { policy: await policy(), name: issuerName });
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

async function identify({ rows, issuerName }: Parts, token: string, policy: PolicySet): Promise<Person> {
  const found: SignedIn | undefined = tokenForm.test(token) ? await rows.signedIn(token) : undefined;
  if (found === undefined) throw new Refusal('unauthenticated', { detail: 'no live token of a person' });
  const record = parsePerson(found.person);
  const identity = personInForce(record, { policy, name: issuerName });
  const { issuedAt } = record;
  const at = issuedAt === undefined ? {} : { issuedAt: new Date(issuedAt) };
  return { identity, attested: { issuerName, subject: identity.subject, ...at } };
}
