import type { ReviewBatch, RevocationBatch, RevocationStatus, Revocations } from '@mayfly/core';
import { z } from 'zod';
import type { Statements } from './database.ts';
import { encodeAudit } from './encode.ts';

const statusRow = z.object({
  id: z.string(),
  by: z.enum(['task', 'grant', 'workload', 'template', 'issuer', 'provider']),
  name: z.string(),
  reason: z.string(),
  requestedBy: z.string(),
  requestedAt: z.coerce.date(),
  doneAt: z.coerce.date().nullable(),
  total: z.number(),
  remaining: z.number(),
  pending: z.number(),
  byExpiry: z.number(),
});

/** Over the connections kept for ending: asked for and worked off while issuing has taken all others. */
export function createRevocations(database: Statements): Revocations {
  return {
    measure: async ({ by, name }) => {
      const text =
        'select count(*)::int as n from revocation_targets($1::text, $2::text, clock_timestamp(), null)';
      const [row] = await database.call<{ n: number }>('measure_revocation', text, [by, name]);
      return row?.n ?? 0;
    },
    request: async (revocation, audit) => {
      const values = [JSON.stringify(revocation), JSON.stringify(encodeAudit(audit))];
      await database.call('request_revocation', 'select request_revocation($1::jsonb, $2::jsonb)', values);
    },
    find: async (id) => {
      const text = 'select revocation_status($1::uuid) as r';
      const [row] = await database.call<{ r: unknown }>('revocation_status', text, [id]);
      return row?.r == null ? undefined : (statusRow.parse(row.r) satisfies RevocationStatus);
    },
    claim: async ({ limit, leaseSeconds }) => {
      const text = 'select claim_revocation($1, $2) as r';
      const values = [limit, leaseSeconds];
      const [row] = await database.call<{ r: RevocationBatch | null }>('claim_revocation', text, values);
      return row?.r ?? null;
    },
    claimReview: async ({ limit, leaseSeconds }) => {
      const text = 'select claim_review($1, $2) as r';
      const [row] = await database.call<{ r: ReviewBatch | null }>('claim_review', text, [
        limit,
        leaseSeconds,
      ]);
      return row?.r ?? null;
    },
    settleReview: async ({ epoch, after }) => {
      await database.call('settle_review', 'select settle_review($1, $2::uuid)', [epoch, after]);
    },
    settle: async (id, audit) => {
      const text = 'select settle_revocation($1::uuid, $2::jsonb) as r';
      const values = [id, JSON.stringify(encodeAudit(audit))];
      const [row] = await database.call<{ r: 'more' | 'waiting' | 'done' }>(
        'settle_revocation',
        text,
        values,
      );
      return row?.r ?? 'waiting';
    },
  };
}
