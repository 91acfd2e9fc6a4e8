import {
  attestAssertion,
  attestSubject,
  Fault,
  type HeldRole,
  type Identity,
  Refusal,
  reaches,
  rolesOf,
  type SingleUse,
  type TaskFound,
  workloadName,
} from '@mayfly/core';
import { joseType, type Role } from '@mayfly/protocol';
import { decodeProtectedHeader } from 'jose';
import type { Broker } from '../broker.ts';
import type { RawRequest } from './request.ts';

/** A proven caller of /v1 with what it may be. */
export interface Principal {
  readonly identity: Identity;
  /** `ISSUERNAME/SUBJECT`. */
  readonly name: string;
  readonly roles: readonly HeldRole[];
  /** Set when a task token speaks: for this task only, with no role. */
  readonly viaTask: TaskFound | null;
  /** Consumed only by calls that open (contract.md section 5). */
  readonly singleUse: SingleUse['assertion'];
}

/**
 * Bearer assertion of a TrustedIssuer, or a task token; with `signedIn` also the token of a person's sign-in, which
 * counts at /v1 alone. Everything that is not proven is `unauthenticated`.
 */
export async function authenticate(
  broker: Broker,
  request: RawRequest,
  { signedIn = false }: { readonly signedIn?: boolean } = {},
): Promise<Principal> {
  const token = bearer(request);
  const now = broker.exchange.clock.now();
  const policy = await broker.policies.refresh();
  const context = { policy, ports: broker.exchange, now };
  try {
    if (signedIn && broker.signIn?.isToken(token)) {
      const identity = await broker.signIn.identify(token, policy);
      return {
        identity,
        name: workloadName(identity),
        roles: rolesOf(identity, policy),
        viaTask: null,
        singleUse: null,
      };
    }
    if (typOf(token) === joseType.taskToken) {
      const caller = await attestSubject({ kind: 'task-token', token }, context);
      return {
        identity: caller.identity,
        name: caller.name,
        roles: [],
        viaTask: caller.viaTask,
        singleUse: null,
      };
    }
    const workload = await attestAssertion(token, context);
    const once = { digest: workload.assertionId, expiresAt: workload.assertionExpiresAt };
    return {
      identity: workload,
      name: workloadName(workload),
      roles: rolesOf(workload, policy),
      viaTask: null,
      singleUse: workload.replay === 'once' ? once : null,
    };
  } catch (error) {
    if (error instanceof Fault) throw error;
    const detail = error instanceof Refusal ? (error.detail ?? error.reason) : 'unreadable';
    throw new Refusal('unauthenticated', { detail, cause: error });
  }
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

function bearer({ headers }: RawRequest): string {
  const [, token] = /^Bearer ([A-Za-z0-9._~+/=-]{1,16384})$/i.exec(headers.authorization ?? '') ?? [];
  if (token === undefined) throw new Refusal('unauthenticated', { detail: 'no bearer token' });
  return token;
}

function typOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).typ;
  } catch {
    return undefined;
  }
}
