import { createHash } from 'node:crypto';
import { canonicalText } from '@mayfly/audit';
import type {
  Attested,
  AuditEvent,
  Delivery,
  Intent,
  IssuanceRecord,
  MintPlan,
  Opening,
  Sighting,
  SingleUse,
} from '@mayfly/core';
import type { Mark } from './high-water.ts';

/** What the SQL functions take: plain JSON. Digests are hex there, bytes in the tables. */
export function encodeAudit(event: AuditEvent): Record<string, unknown> {
  const { id, type, actor, taskId, issuanceId, body } = event;
  const at = event.at.toISOString();
  return {
    id,
    type,
    at,
    actor,
    taskId,
    issuanceId,
    canonical: canonicalText({ id, type, at, actor, taskId, issuanceId, body }),
  };
}

export function encodeRecord(
  record: IssuanceRecord,
  plan: MintPlan | null,
  local: boolean,
): Record<string, unknown> {
  const { workload, notAfter, ...rest } = record;
  return {
    ...rest,
    workloadIssuer: workload.issuerName,
    workloadSubject: workload.subject,
    notAfter: notAfter?.toISOString() ?? null,
    endsBy: plan?.ends.by ?? null,
    reach: plan?.reach ?? null,
    generation: plan?.generation ?? null,
    plan,
    local,
  };
}

export function encodeIntent(
  intent: Intent,
  options: { delivered: AuditEvent | null; reapAgeSeconds: number; known: Mark | null },
): Record<string, unknown> {
  const { record, plan, epoch, generation, use, opening, budget, above, audit } = intent;
  return {
    record: encodeRecord(record, plan, options.delivered !== null),
    epoch,
    generation,
    reapAgeSeconds: options.reapAgeSeconds,
    uses: encodeUses(use.uses),
    idempotencyDigest: use.idempotencyKey?.digest ?? null,
    known: options.known,
    attested: encodeAttested(use.attested),
    opening:
      opening === null ? null : encodeOpening(opening, { known: options.known, attested: use.attested }),
    exchangesMax: budget.exchanges,
    perMinute: budget.perMinute,
    above,
    audit: encodeAudit(audit),
    delivered: options.delivered === null ? null : encodeAudit(options.delivered),
  };
}

export function encodeDelivery({ issuanceId, keyHash, expiresAt, audit }: Delivery): Record<string, unknown> {
  return { issuanceId, keyHash, expiresAt: expiresAt.toISOString(), audit: encodeAudit(audit) };
}

export function encodeSighting(sighting: Sighting): Record<string, unknown> {
  return { ...sighting, audit: encodeAudit(sighting.audit) };
}

export function encodeOpening(
  opening: Opening,
  { known, attested }: { known: Mark | null; attested: readonly Attested[] },
): Record<string, unknown> {
  const { task, countedAs, maxOpen, opensPerHour, childrenMax, endsOnChange, onLapse, audit } = opening;
  const { workload, grants, openedAt, expiresAt, ...rest } = task;
  return {
    ownerKey: ownerKey(task.owner),
    limitKey: ownerKey(countedAs),
    openScope: scopeDigest('opensPerHour', [countedAs, task.template]),
    maxOpen,
    opensPerHour,
    childrenMax,
    known,
    endsOnChange,
    onLapse,
    attested: encodeAttested(attested),
    audit: encodeAudit(audit),
    task: {
      ...rest,
      workloadIssuer: workload.issuerName,
      workloadIss: workload.issuer,
      workloadSubject: workload.subject,
      claims: workload.claims,
      openedAt: openedAt.toISOString(),
      expiresAt: expiresAt.toISOString(),
      grants: grants.map(({ ttl, budget, endsWithinSeconds, taskId: _, ...grant }) => ({
        ...grant,
        ttlDefault: ttl.defaultSeconds,
        ttlMax: ttl.maxSeconds,
        endsWithin: endsWithinSeconds,
        exchangesMax: budget.exchanges,
        perMinute: budget.perMinute,
      })),
    },
  };
}

export function encodeUses(uses: SingleUse['uses']): readonly Record<string, string>[] {
  return uses.map(({ digest, expiresAt, issuedAt, replayed }) => ({
    digest,
    expiresAt: expiresAt.toISOString(),
    ...(issuedAt === undefined ? {} : { issuedAt: issuedAt.toISOString() }),
    replayed,
  }));
}

export function encodeAttested(attested: readonly Attested[]): readonly Record<string, string>[] {
  return attested.map(({ issuerName, subject, issuedAt }) => ({
    issuerName,
    subject,
    ...(issuedAt === undefined ? {} : { issuedAt: issuedAt.toISOString() }),
  }));
}

/** Owners may be long; the index holds their digest. */
export function ownerKey(owner: string): string {
  return createHash('sha256').update(owner).digest('hex');
}

function scopeDigest(kind: string, parts: readonly (string | null)[]): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, ...parts]))
    .digest('hex');
}

/** A hex digest as its column holds it. */
export function digestBytes(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}
