import {
  type EventReceipt,
  Fault,
  type ReviewBatch,
  type RevocationBatch,
  type RevocationStatus,
  type Revocations,
} from '@mayfly/core';
import { z } from 'zod';
import type { Statements } from './database.ts';
import { encodeAttested, encodeAudit } from './encode.ts';

const statusRow = z.object({
  id: z.string(),
  by: z.enum(['task', 'grant', 'workload', 'session', 'template', 'issuer', 'provider']),
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
    receive: async ({ cut, audit, ...event }) => {
      const kept =
        cut === null ? null : { ...cut, before: cut.before.toISOString(), until: cut.until.toISOString() };
      const values = [JSON.stringify({ ...event, cut: kept }), JSON.stringify(encodeAudit(audit))];
      const text = 'select receive_event($1::jsonb, $2::jsonb) as r';
      const [row] = await database.call<{ r: EventReceipt }>('receive_event', text, values);
      if (row === undefined)
        throw new Fault('internal', { effect: 'unknown', detail: 'receive_event is silent' });
      return row.r;
    },
    settled: async (id) => {
      const text = `select event_settled(decode($1, 'hex')) as settled`;
      const [row] = await database.call<{ settled: boolean }>('event_settled', text, [id]);
      return row?.settled === true;
    },
    tasksOf: async ({ issuerName, subject }, { after, limit }) => {
      const text = 'select tasks_of($1, $2, $3::uuid, $4) as id';
      const values = [issuerName, subject, after, limit];
      const rows = await database.call<{ id: string }>('tasks_of', text, values);
      return rows.map(({ id }) => id);
    },
    isCut: async (attested) => {
      const values = [JSON.stringify(encodeAttested(attested))];
      const [row] = await database.call<{ cut: boolean }>(
        'is_cut',
        'select is_cut($1::jsonb) as cut',
        values,
      );
      return row?.cut ?? true;
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
