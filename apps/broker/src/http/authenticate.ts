import {
  type Attested,
  attest,
  type Caller,
  Fault,
  type HeldRole,
  type Identity,
  type PolicySet,
  Refusal,
  reaches,
  rolesOf,
  type Use,
  workloadName,
} from '@mayfly/core';
import { joseType, type Reason, type Role } from '@mayfly/protocol';
import type { Broker } from '../broker.ts';
import { typOf } from '../tokens.ts';
import { CredentialsMissing } from './errors.ts';
import { presentedWith } from './presented.ts';
import type { RawRequest } from './request.ts';

/** A proven caller of /v1 with what it may be. */
export interface Principal extends Caller {
  readonly roles: readonly HeldRole[];
}

/**
 * Bearer or DPoP: an assertion of a TrustedIssuer, or a task token; with `signedIn` also the token of a person's sign-in,
 * which counts at /v1 alone. Everything that is not proven is `unauthenticated`. A DPoP proof is used up here, by whatever
 * it is shown for; an assertion only by calls that open (contract.md section 5).
 */
export async function authenticate(
  broker: Broker,
  request: RawRequest,
  { signedIn = false }: { readonly signedIn?: boolean } = {},
): Promise<Principal> {
  const { scheme, token } = authorization(request);
  const policy = await broker.policies.refresh();
  if (signedIn && scheme === 'bearer' && broker.signIn?.isToken(token)) {
    const { identity, attested } = await broker.signIn.identify(token, policy).catch(unauthenticated);
    await refuseCut(broker, policy, [attested]);
    return { ...callerOfPerson(identity), roles: rolesOf(identity, policy) };
  }
  const now = broker.exchange.clock.now();
  const presented = presentedWith(broker, request, token);
  if (scheme === 'dpop' && presented.dpop === null)
    throw new Refusal('proof_required', { detail: 'no proof' });
  const kind = typOf(token) === joseType.taskToken ? 'access-token' : 'assertion';
  const credentials = { subject: { kind, token }, actor: null, presented } as const;
  const caller = await attest(credentials, { policy, ports: broker.exchange, now }).catch(unauthenticated);
  // RFC 9449 section 7.1: what is bound to a key is no bearer token, whatever comes with it.
  if (scheme === 'bearer' && caller.boundTo?.jkt !== undefined)
    throw new Refusal('proof_required', { detail: 'a bound token sent as Bearer' });
  await refuseCut(broker, policy, caller.attested);
  const [proofs, uses] = [byKind(caller.uses, 'dpop_replayed'), byKind(caller.uses, 'assertion_replayed')];
  const replayed = proofs.length === 0 ? null : await broker.exchange.tasks.use(proofs);
  if (replayed !== null) throw new Refusal(replayed);
  return { ...caller, uses, roles: caller.viaTask === null ? rolesOf(caller.identity, policy) : [] };
}

/** What the issuer has taken back since (docs/events.md); asked only where something was. */
async function refuseCut(
  { store }: Broker,
  { hasCuts }: PolicySet,
  attested: readonly Attested[],
): Promise<void> {
  if (hasCuts === true && attested.length > 0 && (await store.revocations.isCut(attested)))
    throw new Refusal('session_revoked');
}

/** One of these roles, reaching this thing; a task token holds none. */
export function requireRole(
  principal: Principal,
  roles: readonly Role[],
  thing: { template?: string; provider?: string } = {},
): void {
  if (!holdsRole(principal, roles, thing)) throw new Refusal('role_required', { detail: roles.join(' or ') });
}

/** With `thing` left out, any scope will do: the handler narrows the rows to it. */
export function holdsRole(
  { roles }: Principal,
  wanted: readonly Role[],
  thing: { template?: string; provider?: string } = {},
): boolean {
  const anywhere = thing.template === undefined && thing.provider === undefined;
  return roles.some((held) => wanted.includes(held.role) && (anywhere || reaches(held, thing)));
}

/** One of these roles, without any scope: for what no scope can name. */
export function holdsUnscoped({ roles }: Principal, wanted: readonly Role[]): boolean {
  return roles.some(
    ({ role, scope }) => wanted.includes(role) && scope.templates === null && scope.providers === null,
  );
}

/** Nothing is used up by a sign-in token, and nothing is bound to a key. */
function callerOfPerson(identity: Identity): Caller {
  return {
    identity,
    name: workloadName(identity),
    actors: [],
    confirmation: {},
    boundTo: null,
    viaTask: null,
    parent: null,
    uses: [],
    attested: [],
    assertionDigest: null,
  };
}

const challenge = /^(Bearer|DPoP) ([A-Za-z0-9._~+/=-]{1,16384})$/i;

function authorization({ headers }: RawRequest): { scheme: 'bearer' | 'dpop'; token: string } {
  const { authorization: value = '' } = headers;
  if (!/^(Bearer|DPoP)( |$)/i.test(value)) throw new CredentialsMissing();
  const [, scheme = '', token] = challenge.exec(value) ?? [];
  if (token === undefined) throw new Refusal('unauthenticated', { detail: 'no bearer token' });
  return { scheme: scheme.toLowerCase() === 'dpop' ? 'dpop' : 'bearer', token };
}

/** Which key is wrong with a proof may be told; of a token only that it proves nobody. */
const ofProofs: ReadonlySet<Reason> = new Set([
  'dpop_invalid',
  'dpop_nonce_needed',
  'dpop_replayed',
  'proof_required',
]);

function unauthenticated(error: unknown): never {
  if (error instanceof Fault || (error instanceof Refusal && ofProofs.has(error.reason))) throw error;
  const detail = error instanceof Refusal ? (error.detail ?? error.reason) : 'unreadable';
  throw new Refusal('unauthenticated', { detail, cause: error });
}

function byKind(uses: readonly Use[], kind: Use['replayed']): readonly Use[] {
  return uses.filter(({ replayed }) => replayed === kind);
}
