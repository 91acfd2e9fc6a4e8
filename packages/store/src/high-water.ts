import type { AuditEvent } from '@mayfly/core';
import { z } from 'zod';
import type { Statements } from './database.ts';
import { encodeAudit } from './encode.ts';

/** How far a database was seen to have come; compared in this order. */
const mark = z.object({
  installation: z.uuid(),
  recovered: z.coerce.number().int().min(0),
  mark: z.coerce.number().int().min(0),
});
export type Mark = z.output<typeof mark>;

const state = mark.extend({ recovery: z.string().nullable() });
/** `recovery`: why nothing is issued until `mayfly recover`. */
export type RecoveryState = z.output<typeof state>;

/**
 * What this process knows of its database, kept where no restore takes it back. It goes with each statement that gives
 * something, so that an older state is refused by the first of them, also where no connection was cut.
 */
export class HighWater {
  readonly #database: Statements;
  #known: Mark | null = null;

  constructor(database: Statements) {
    this.#database = database;
  }

  get known(): Mark | null {
    return this.#known;
  }

  /** What a process before this one has written down. Of another database it says nothing: false. */
  async learn(value: unknown): Promise<boolean> {
    const parsed = mark.safeParse(value);
    if (!parsed.success) return false;
    const [row] = await this.#database.call<{ installation: string }>(
      'installation_id',
      'select installation from config_epoch',
      [],
    );
    if (row?.installation !== parsed.data.installation) return false;
    this.#raise(parsed.data);
    return true;
  }

  #raise({ installation, recovered, mark: at }: Mark): void {
    const seen = { installation, recovered, mark: at };
    if (isAhead(seen, this.#known)) this.#known = seen;
  }

  /** One step on; an older database is marked as such, with this event, for every replica. */
  async advance(event: AuditEvent): Promise<RecoveryState> {
    const text = 'select advance_mark($1::jsonb, $2::jsonb) as r';
    const values = [JSON.stringify(this.#known), JSON.stringify(encodeAudit(event))];
    const [row] = await this.#database.call<{ r: unknown }>('advance_mark', text, values);
    const seen = state.parse(row?.r);
    if (seen.recovery === null) this.#raise(seen);
    return seen;
  }
}

function isAhead(one: Mark, other: Mark | null): boolean {
  if (other === null) return true;
  return one.recovered === other.recovered ? one.mark > other.mark : one.recovered > other.recovered;
}

/** What `mayfly recover` does in the database; each step may be repeated. */
export interface Recovery {
  /** Nothing is issued from here on; false when that was so. */
  require(why: 'asked' | 'moved', event: AuditEvent): Promise<boolean>;
  state(): Promise<RecoveryState>;
  /** Ids of tasks that have not ended. */
  openTasks(limit: number): Promise<readonly string[]>;
  countOpenTasks(): Promise<number>;
  /** Every session of the role from before now is denied by the next version of its document. */
  cut(at: { readonly provider: string; readonly role: string }): Promise<void>;
  /** Roles that have a deny document. */
  deniedRoles(): Promise<readonly { readonly provider: string; readonly role: string }[]>;
  /** False while a task is open. */
  finish(event: AuditEvent): Promise<boolean>;
}

export function createRecovery(database: Statements): Recovery {
  const event = (audit: AuditEvent) => JSON.stringify(encodeAudit(audit));
  return {
    require: async (why, audit) => {
      const text = 'select require_recovery($1, $2::jsonb) as ok';
      const [row] = await database.call<{ ok: boolean }>('require_recovery', text, [why, event(audit)]);
      return row?.ok === true;
    },
    state: async () => {
      const text = 'select installation, recovered, mark, recovery from config_epoch';
      const [row] = await database.call<Record<string, unknown>>('recovery_state', text, []);
      return state.parse(row);
    },
    openTasks: async (limit) => {
      const text = `select id from task where state in ('open', 'suspended') order by id limit $1`;
      const rows = await database.call<{ id: string }>('open_tasks', text, [limit]);
      return rows.map(({ id }) => id);
    },
    countOpenTasks: async () => {
      const text = `select count(*)::int as n from task where state in ('open', 'suspended')`;
      const [row] = await database.call<{ n: number }>('count_open_tasks', text, []);
      return row?.n ?? 0;
    },
    cut: async ({ provider, role }) => {
      await database.call('deny_cut', 'select deny_cut($1, $2)', [provider, role]);
    },
    deniedRoles: () =>
      database.call<{ provider: string; role: string }>(
        'denied_roles',
        'select provider, role from deny_document order by provider, role',
        [],
      ),
    finish: async (audit) => {
      const text = 'select finish_recovery($1::jsonb) as ok';
      const [row] = await database.call<{ ok: boolean }>('finish_recovery', text, [event(audit)]);
      return row?.ok === true;
    },
  };
}
