import { type ClaimValue, Refusal, type SecurityEvent, type TrustedIssuer } from '@mayfly/core';
import { isStorableText } from '@mayfly/protocol';
import { z } from 'zod';
import type { Compact } from '../jwt/compact.ts';
import { keepClaim } from '../jwt/workload.ts';

/** CAEP 1.0. */
const caep = 'https://schemas.openid.net/secevent/caep/event-type/';

/** What an event says, before its signature is looked at. */
export type Told = Omit<SecurityEvent, 'id' | 'jti'>;

interface Telling {
  readonly issuer: TrustedIssuer;
  readonly issuedAt: Date;
  readonly now: Date;
  readonly skewSeconds: number;
}

export function malformed(detail: string | undefined, cause?: unknown): Refusal {
  return new Refusal('event_malformed', { ...(detail === undefined ? {} : { detail }), cause });
}

/** Types that mean nothing here are taken and remembered: their transmitter need not be asked to leave them out. */
export function told(payload: Compact['payload'], telling: Telling): Told {
  const [type, event] = onlyEvent(payload['events']);
  const at = timeOf(event, payload['toe'], telling);
  const about = () => subjectOf(payload['sub_id'], telling.issuer);
  switch (type) {
    case `${caep}session-revoked`:
      return { type, at, effect: 'end', subject: about(), claims: {} };
    case `${caep}credential-change`: {
      const change = event['change_type'];
      if (!['create', 'revoke', 'update', 'delete'].includes(String(change))) throw malformed('change_type');
      const effect = change === 'revoke' || change === 'delete' ? 'end' : 'none';
      return { type, at, effect, subject: about(), claims: {} };
    }
    case `${caep}token-claims-change`:
      return {
        ...{ type, at, effect: 'reevaluate', subject: about() },
        claims: claimsOf(event['claims'], telling.issuer),
      };
    default:
      return { type, at, effect: 'none', subject: null, claims: {} };
  }
}

/** SSF 1.0: exactly one. */
function onlyEvent(events: unknown): [string, Readonly<Record<string, unknown>>] {
  const parsed = z.record(z.string(), z.record(z.string(), z.unknown())).safeParse(events);
  const [first, ...others] = Object.entries(parsed.data ?? {});
  if (first === undefined || others.length > 0) throw malformed('events must hold one event');
  if (first[0].length > 1024 || !isStorableText(first[0])) throw malformed('event type');
  return first;
}

/** `event_timestamp` is in seconds; the specification's own examples have milliseconds, so both are taken. */
function timeOf(
  { event_timestamp: stamp }: Readonly<Record<string, unknown>>,
  toe: unknown,
  { issuedAt, now, skewSeconds }: Telling,
): Date {
  const said = stamp ?? toe;
  if (said === undefined) return issuedAt;
  if (typeof said !== 'number' || !(said > 0 && said < 1e14)) throw malformed('event_timestamp');
  const ms = said > 1e11 ? said : said * 1000;
  if (ms > now.getTime() + skewSeconds * 1000) throw malformed('event_timestamp lies in the future');
  return new Date(Math.floor(ms));
}

const text = z.string().min(1).max(1024).refine(isStorableText);
const simple = z.discriminatedUnion('format', [
  z.object({ format: z.literal('iss_sub'), iss: text, sub: text }),
  z.object({ format: z.literal('opaque'), id: text }),
]);
const complex = z.object({ format: z.literal('complex'), user: simple });
const subjects = z.union([simple, complex]);

/** RFC 9493: by issuer and subject, opaque, or the user of a complex one; and only one that its issuer may speak for. */
function subjectOf(id: unknown, { issuer, subjects: patterns }: TrustedIssuer): string {
  const parsed = subjects.safeParse(id);
  if (!parsed.success) throw malformed('sub_id must be iss_sub, opaque, or complex with such a user');
  const named = parsed.data.format === 'complex' ? parsed.data.user : parsed.data;
  const subject = named.format === 'opaque' ? named.id : named.sub;
  const isOwn = named.format === 'opaque' || named.iss === issuer;
  if (!isOwn || !patterns.some((pattern) => pattern.matches(subject)))
    throw new Refusal('event_subject_foreign');
  return subject;
}

/** New values of the claims that the issuer's document keeps, as they would be kept of an assertion. */
function claimsOf(claims: unknown, issuer: TrustedIssuer): Readonly<Record<string, ClaimValue | null>> {
  const parsed = z.record(z.string(), z.unknown()).safeParse(claims);
  if (!parsed.success) throw malformed('claims');
  const kept = issuer.claims.filter((name) => name !== 'sub' && Object.hasOwn(parsed.data, name));
  return Object.fromEntries(kept.map((name) => [name, keepClaim(parsed.data[name]) ?? null]));
}
