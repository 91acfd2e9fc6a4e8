import {
  type AuditEvent,
  type Delivery,
  type DeviationAct,
  Fault,
  type IntendResult,
  type Intent,
  type Ledger,
  type Sighting,
} from '@mayfly/core';
import type { Reason } from '@mayfly/protocol';
import pg from 'pg';
import { z } from 'zod';
import { createBatch } from './batch.ts';
import type { Database } from './database.ts';
import { encodeAudit, encodeDelivery, encodeIntent, encodeRecord, encodeSighting } from './encode.ts';
import type { HighWater } from './high-water.ts';
import type { TaskFacts } from './task-facts.ts';

const result = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('intended') }),
  z.object({
    kind: z.literal('refused'),
    reason: z.string(),
    retryAfterSeconds: z.coerce.number().optional(),
  }),
  z.object({ kind: z.literal('stale'), epoch: z.coerce.number(), generation: z.coerce.number().nullable() }),
  z.object({ kind: z.literal('ref_taken') }),
  z.object({ kind: z.literal('already_issued'), issuanceId: z.string() }),
]);

/** SQLSTATE of `intend_opening`: refused, and everything it wrote undone. */
const refusedState = 'MF001';

/** The issuance side of storage: one prepared statement a step (prisma/migrations, 0002_functions). */
export function createLedger(
  database: Database,
  facts: TaskFacts,
  options: { reapAgeSeconds: number; highWater: HighWater },
): Ledger {
  const { reapAgeSeconds, highWater } = options;
  const encode = (intent: Intent, delivered: AuditEvent | null) =>
    JSON.stringify(encodeIntent(intent, { delivered, reapAgeSeconds, known: highWater.known }));
  const alone = async (item: Sendable) =>
    item.opens ? intendOpening(database, item.json) : intendOne(database, item.json);
  const issue = createBatch<Sendable, IntendResult>({
    alone,
    together: async (items) => {
      const json = `[${items.map((item) => item.json).join(',')}]`;
      const [row] = await database.call<{ r: unknown[] }>(
        'intend_batch',
        'select intend_batch($1::jsonb) as r',
        [json],
      );
      return (row?.r ?? []).map(parseResult);
    },
    order: (left, right) => (left.grantId < right.grantId ? -1 : left.grantId > right.grantId ? 1 : 0),
  });
  const remember = (intent: Intent, answer: IntendResult) => {
    if (answer.kind === 'intended' && intent.opening !== null) facts.opened(intent.opening.task);
    return answer;
  };
  const acted = (sighting: Sighting | null, act: DeviationAct | null) => {
    if (sighting !== null && act !== null) facts.forget(sighting.taskId);
    return act;
  };
  return {
    intend: async (intent) => {
      const json = encode(intent, null);
      return remember(intent, await alone({ json, opens: intent.opening !== null, grantId: '' }));
    },
    issueLocal: async (intent, { audit }) => {
      const item = {
        json: encode(intent, audit),
        opens: intent.opening !== null,
        grantId: intent.record.grantId ?? '',
      };
      // An opening must be able to undo itself, so it flies alone.
      return remember(intent, await (item.opens ? alone(item) : issue(item)));
    },
    deliver: (delivery) => deliver(database, delivery),
    refuse: async (record, { audit, sighting }) => {
      const values = [
        JSON.stringify(encodeRecord(record, null, false)),
        JSON.stringify(encodeAudit(audit)),
        sighting === null ? null : JSON.stringify(encodeSighting(sighting)),
      ];
      const text = 'select refuse($1::jsonb, $2::jsonb, $3::jsonb) as act';
      const [row] = await database.call<{ act: DeviationAct | null }>('refuse', text, values);
      return acted(sighting, row?.act ?? null);
    },
    signal: async ({ audit, sighting }) => {
      const values = [
        JSON.stringify(encodeAudit(audit)),
        sighting === null ? null : JSON.stringify(encodeSighting(sighting)),
      ];
      const text = 'select signal_task($1::jsonb, $2::jsonb) as act';
      const [row] = await database.call<{ act: DeviationAct | null }>('signal_task', text, values);
      return acted(sighting, row?.act ?? null);
    },
    revoke: async (issuanceId, audit) => {
      const values = [issuanceId, JSON.stringify(encodeAudit(audit))];
      const text = 'select revoke_issuance($1::uuid, $2::jsonb) as ok';
      const [row] = await database.call<{ ok: boolean }>('revoke_issuance', text, values);
      return row?.ok === true;
    },
    append: async (audit) => {
      await database.call('append_audit', 'select append_audit($1::jsonb)', [
        JSON.stringify(encodeAudit(audit)),
      ]);
    },
  };
}

interface Sendable {
  readonly json: string;
  readonly opens: boolean;
  readonly grantId: string;
}

async function intendOne(database: Database, json: string): Promise<IntendResult> {
  const [row] = await database.call<{ r: unknown }>('intend', 'select intend($1::jsonb) as r', [json]);
  return parseResult(row?.r);
}

async function intendOpening(database: Database, json: string): Promise<IntendResult> {
  try {
    const [row] = await database.call<{ r: unknown }>(
      'intend_opening',
      'select intend_opening($1::jsonb) as r',
      [json],
    );
    return parseResult(row?.r);
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === refusedState)
      return parseResult(JSON.parse(error.detail ?? ''));
    throw error;
  }
}

async function deliver(database: Database, delivery: Delivery): Promise<boolean> {
  const values = [JSON.stringify(encodeDelivery(delivery))];
  const [row] = await database.call<{ ok: boolean }>('deliver', 'select deliver($1::jsonb) as ok', values);
  return row?.ok === true;
}

function parseResult(value: unknown): IntendResult {
  const parsed = result.safeParse(value);
  if (!parsed.success)
    throw new Fault('internal', { effect: 'unknown', detail: 'intend answered something unknown' });
  const { data } = parsed;
  if (data.kind !== 'refused') return data;
  const reason = data.reason as Reason; // The functions name only reasons of the table; a test compares them.
  return data.retryAfterSeconds === undefined
    ? { kind: 'refused', reason }
    : { kind: 'refused', reason, retryAfterSeconds: data.retryAfterSeconds };
}
