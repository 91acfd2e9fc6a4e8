import type { DenyDue, DenyStore, DenyUnproven, DenyUntold } from '@mayfly/core';
import { z } from 'zod';
import type { Statements } from './database.ts';
import { encodeAudit } from './encode.ts';
import type { HighWater } from './high-water.ts';

const write = z
  .object({ version: z.coerce.number(), isCut: z.boolean(), entries: z.array(z.string()) })
  .nullable();

/** Deny documents: entries, one writer at a time by a lease in the row, a version as fence. */
export function createDenyStore(database: Statements, highWater: HighWater): DenyStore {
  return {
    request: async ({ provider, role }, add, leaseSeconds) => {
      const known = JSON.stringify(highWater.known);
      const values = [provider, role, JSON.stringify(add), leaseSeconds, known];
      const text = 'select deny_request($1, $2, $3::jsonb, $4, $5::jsonb) as r';
      const [row] = await database.call<{ r: unknown }>('deny_request', text, values);
      return write.parse(row?.r ?? null);
    },
    acknowledge: async ({ provider, role }, version, how = null) => {
      const text = 'select deny_acknowledge($1, $2, $3, $4::jsonb) as ok';
      const values = [provider, role, version, how === null ? null : JSON.stringify(how)];
      const [row] = await database.call<{ ok: boolean }>('deny_acknowledge', text, values);
      return row?.ok === true;
    },
    release: async ({ provider, role }, version) => {
      const text =
        'update deny_document set writer_until = null where provider = $1 and role = $2 and version = $3';
      await database.call('deny_release', text, [provider, role, version]);
    },
    due: async (olderThanSeconds) => {
      const text = `select d.role, d.provider, d.version::int as version, array_agg(e.source_identity order by e.source_identity) as entries, bool_or(e.needed_until < clock_timestamp() - interval '5 minutes') as shrinks, d.acked_version = d.version as acknowledged, d.widened
        from deny_document d join deny_entry e on e.provider = d.provider and e.role = d.role
        where (d.read_at is null or d.read_at < clock_timestamp() - make_interval(secs => $1))
          and (d.writer_until is null or d.writer_until < clock_timestamp())
        group by d.role, d.provider, d.version, d.acked_version, d.widened
        having max(e.needed_until) > clock_timestamp() - interval '1 day'`;
      return database.call<DenyDue & Record<string, unknown>>('deny_due', text, [olderThanSeconds]);
    },
    observed: async ({ provider, role }, { intact, audit }) => {
      if (intact) {
        const text = 'update deny_document set read_at = clock_timestamp() where provider = $1 and role = $2';
        await database.call('deny_seen', text, [provider, role]);
        return;
      }
      const event = audit === null ? null : JSON.stringify(encodeAudit(audit));
      await database.call('deny_reopen', 'select deny_reopen($1, $2, $3::jsonb)', [provider, role, event]);
    },
    untold: async () =>
      database.call<DenyUntold & Record<string, unknown>>('deny_untold', 'select * from deny_untold()', []),
    told: async ({ provider, role }, version, audit) => {
      const values = [provider, role, version, JSON.stringify(encodeAudit(audit))];
      await database.call('deny_tell', 'select deny_tell($1, $2, $3, $4::jsonb)', values);
    },
    unproven: async (sourceIdentities, limit) => {
      const text = `select provider, role, source_identity as "sourceIdentity", task_id as "taskId", acknowledged_at as "acknowledgedAt"
        from deny_entry where source_identity = any($1) and acknowledged_at is not null and effective_at is null
          and needed_until > clock_timestamp() order by acknowledged_at limit $2`;
      const values = [sourceIdentities, limit];
      return database.call<DenyUnproven & Record<string, unknown>>('deny_unproven', text, values);
    },
    proven: async ({ provider, role, sourceIdentity, acknowledgedAt }, audit) => {
      const values = [provider, role, sourceIdentity, acknowledgedAt, JSON.stringify(encodeAudit(audit))];
      const text = 'select deny_prove($1, $2, $3, $4, $5::jsonb) as ok';
      const [row] = await database.call<{ ok: boolean }>('deny_prove', text, values);
      return row?.ok === true;
    },
  };
}
