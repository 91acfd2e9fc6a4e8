import { canonicalText } from '@mayfly/audit';
import type {
  AuditEvent,
  DenyWidened,
  DeviationAct,
  Freeze,
  Grant,
  IssuanceRecord,
  MintPlan,
  RevocationRequest,
  SubjectCut,
  Task,
  TaskState,
} from '@mayfly/core';
import type { EndMethod } from '@mayfly/protocol';

export interface TaskRow {
  readonly task: Task;
  readonly countedAs: string;
  readonly state: TaskState;
  readonly stateReason: string | null;
  readonly suspendedAlong: boolean;
  readonly endsOnChange: boolean;
  readonly onLapse: DeviationAct;
  /** Its end was asked for by an event. */
  readonly isCut?: boolean;
  /** Null: it was opened with an assertion that does not say. */
  readonly attestedAt: Date | null;
  /** `note`: when its silence is told; null: it was, or is not to be. */
  readonly silentAt: Date | null;
  readonly outcome: string | null;
  readonly leaseUntil: Date;
  readonly endedAt: Date | null;
}

export interface GrantRow {
  readonly grant: Grant;
  readonly uses: number;
  readonly state: 'active' | 'suspended' | 'ended';
  readonly generation: number;
}

export interface IssuanceRow {
  readonly record: IssuanceRecord;
  readonly decision: 'allow' | 'deny';
  readonly plan: MintPlan | null;
  readonly local: boolean;
}

export interface WorkRow {
  readonly id: string;
  readonly kind: 'issuance' | 'task';
  readonly taskId: string | null;
  readonly state: 'intended' | 'delivered' | 'revoking' | 'reaped' | 'task';
  readonly dueAt: Date;
  readonly notAfter: Date | null;
  readonly requestedAt: Date | null;
  readonly reach: string | null;
  readonly attempts: number;
}

export interface RevocationRow extends RevocationRequest {
  readonly requestedAt: Date;
  /** Tasks that were there when it was asked for. */
  readonly known: ReadonlySet<string>;
  readonly total: number;
  readonly dueAt: Date;
  readonly doneAt: Date | null;
}

export interface EndRow {
  readonly issuanceId: string;
  /** Ahead of now: the expiry of an offline tool token that was revoked. */
  readonly at: Date;
  readonly method: EndMethod;
  readonly requestedAt: Date | null;
  readonly evidence: Readonly<Record<string, unknown>>;
}

export interface SightingRow {
  readonly taskId: string;
  readonly rule: string;
  readonly at: Date;
  readonly evidence: string;
  readonly what: string;
  readonly told: boolean;
}

/** An event as appended: `canonical` is what would be hashed. */
export type AuditRow = AuditEvent & { readonly canonical: string };

export interface DenyDocumentRow {
  readonly provider: string;
  readonly role: string;
  readonly version: number;
  readonly ackedVersion: number;
  readonly widened: DenyWidened | null;
  readonly told: boolean;
  readonly writerUntil: Date | null;
  readonly readAt: Date | null;
}

export interface DenyEntryRow {
  readonly provider: string;
  readonly role: string;
  readonly sourceIdentity: string;
  readonly neededUntil: Date;
  readonly taskId: string;
  readonly acknowledgedAt: Date | null;
  readonly effectiveAt: Date | null;
}

/**
 * What the migrations call tables, as maps of rows that are never changed in place. One instance is one database,
 * whatever number of replicas look at it; a synchronous method is a transaction.
 */
export interface CutRow extends Omit<SubjectCut, 'withTasks'> {
  readonly tasksBefore: Date | null;
}

export interface SecurityEventRow {
  readonly issuerName: string;
  readonly ends: number;
  readonly at: Date;
}

export class MemoryRows {
  epoch = 1;
  freezes: readonly Freeze[] = [];
  /** `after` null: every task was looked at under `epoch`. */
  review: { readonly epoch: number; readonly after: string | null; readonly dueAt: Date | null } = {
    epoch: 0,
    after: null,
    dueAt: null,
  };
  readonly tasks = new Map<string, TaskRow>();
  readonly grants = new Map<string, GrantRow>();
  readonly counters = new Map<string, number>();
  readonly replay = new Map<string, true>();
  readonly idempotency = new Map<string, { readonly issuanceId: string; readonly expiresAt: Date }>();
  readonly issuances = new Map<string, IssuanceRow>();
  readonly deliveries = new Map<string, { readonly keyHash: string | null; readonly expiresAt: Date }>();
  readonly ends = new Map<string, readonly EndRow[]>();
  readonly work = new Map<string, WorkRow>();
  /** By evidence. */
  /** By `ISSUERNAME/SUBJECT`. */
  readonly cuts = new Map<string, CutRow>();
  readonly securityEvents = new Map<string, SecurityEventRow>();
  readonly sightings = new Map<string, SightingRow>();
  /** Until when, by `quarantineKey`. */
  readonly quarantines = new Map<string, Date>();
  readonly revocations = new Map<string, RevocationRow>();
  readonly denyDocuments = new Map<string, DenyDocumentRow>();
  readonly denyEntries = new Map<string, DenyEntryRow>();
  readonly #audit = new Map<string, AuditRow>();
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** The database's own clock. */
  now(): Date {
    return this.#now();
  }

  inSeconds(seconds: number): Date {
    return new Date(this.#now().getTime() + seconds * 1000);
  }

  get audit(): readonly AuditRow[] {
    return [...this.#audit.values()];
  }

  append(event: AuditEvent): void {
    const { id, type, actor, taskId, issuanceId, body } = event;
    const at = event.at.toISOString();
    const canonical = canonicalText({ id, type, at, actor, taskId, issuanceId, body });
    this.#audit.set(`${this.#audit.size}`, { ...event, canonical });
  }

  /** Insert-only: a second row of the same id is what PostgreSQL would refuse as well. */
  insertIssuance(record: IssuanceRecord, plan: MintPlan | null, local: boolean): void {
    if (this.issuances.has(record.id)) throw new Error(`duplicate issuance ${record.id}`);
    const decision = record.reason === null ? 'allow' : 'deny';
    // As jsonb would hold it: what is no plain JSON does not survive.
    const stored: MintPlan | null = plan === null ? null : JSON.parse(JSON.stringify(plan));
    this.issuances.set(record.id, { record, decision, plan: stored, local });
  }

  grantsOf(taskId: string): readonly GrantRow[] {
    return [...this.grants.values()].filter(({ grant }) => grant.taskId === taskId);
  }

  endsOf(issuanceId: string): readonly EndRow[] {
    return this.ends.get(issuanceId) ?? [];
  }

  /** A transaction: what `run` wrote is undone when it throws. */
  atomically<T>(run: () => T): T {
    const undo = this.#tables().map((table) => snapshot(table));
    try {
      return run();
    } catch (error) {
      for (const restore of undo) restore();
      throw error;
    }
  }

  #tables(): readonly Map<string, unknown>[] {
    const { tasks, grants, counters, replay, idempotency, issuances, deliveries, ends, work } = this;
    const hot = [tasks, grants, counters, replay, idempotency, issuances, deliveries, ends, work];
    return [
      ...hot,
      this.sightings,
      this.quarantines,
      this.revocations,
      this.cuts,
      this.securityEvents,
      this.denyDocuments,
      this.denyEntries,
      this.#audit,
    ];
  }
}

function snapshot(table: Map<string, unknown>): () => void {
  const saved = [...table];
  return () => {
    table.clear();
    for (const [key, row] of saved) table.set(key, row);
  };
}
