import type { EndMethod, Reason } from '@mayfly/protocol';
import type { DeviationAct, Sighting } from './deviation.ts';
import type { MintPlan } from './minter.ts';
import type { Attested } from './security-event.ts';
import type { ClosedState, Grant, Task, TaskStatus } from './task.ts';
import type { PolicySet, Template } from './template.ts';
import type { Workload } from './workload.ts';

/** Verifies assertions of one trusted issuer. One instance per TrustedIssuer. */
export interface Attestor {
  /** Exact `iss`; the exchange routes on it before any signature is checked. */
  readonly issuer: string;
  /** Proves who signed, or throws a Refusal. A Fault means keys could not be read: never "probably fine". */
  attest(assertion: string, context: { now: Date; signal: AbortSignal }): Promise<Workload>;
}

/** Wall time for claims and decisions; monotonic time for deadlines. What expires in the database, SQL compares. */
export interface Clock {
  now(): Date;
  monotonicMs(): number;
  /** False while this process's clock is off the database's by more than half the allowed skew: then nothing is issued. */
  isTrusted(): boolean;
}

/** UUIDv7 in canonical text. */
export type NewId = () => string;

/** One audit record before it has a position. `body` is plain JSON without secrets; the store makes the bytes canonical. */
export interface AuditEvent {
  readonly id: string;
  /** Dotted type, contract.md section 5. */
  readonly type: string;
  readonly at: Date;
  /** `ISSUERNAME/SUBJECT`, `mayfly` for the broker itself, null before a workload is known. */
  readonly actor: string | null;
  readonly taskId: string | null;
  readonly issuanceId: string | null;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Everything stored about one decision, allowed or refused; written once. */
export interface IssuanceRecord {
  readonly id: string;
  readonly purpose: 'agent' | 'base';
  readonly taskId: string | null;
  readonly grantId: string | null;
  readonly grantName: string | null;
  readonly template: string | null;
  readonly templateVersion: number | null;
  readonly workload: { readonly issuerName: string; readonly subject: string };
  /** Who acted for the workload; null when it asked itself. */
  readonly actor: { readonly issuerName: string; readonly subject: string } | null;
  readonly tool: string | null;
  readonly identifier: string | null;
  readonly actions: readonly string[];
  readonly provider: string | null;
  readonly access: string | null;
  readonly nativePermissions: readonly string[];
  readonly purposeText: string | null;
  readonly ttlSeconds: number | null;
  readonly notAfter: Date | null;
  readonly worstCaseSeconds: number | null;
  readonly reason: Reason | null;
  readonly policyEpoch: number;
  /** SHA-256 hex of the canonical input of the decision. */
  readonly inputDigest: string;
  readonly assertionDigest: string | null;
  readonly requestId: string | null;
  /** What `explain` shows: the checks in order with their results. */
  readonly explanation: Readonly<Record<string, unknown>>;
}

/** Something that works once: an assertion of a once-only issuer, or a DPoP proof. The digest is 32 bytes in hex. */
export interface Use {
  readonly digest: string;
  readonly expiresAt: Date;
  /** What is from before a recovery counts as used; left out: not known. */
  readonly issuedAt?: Date;
  /** The refusal when it was used before. */
  readonly replayed: 'assertion_replayed' | 'dpop_replayed';
}

/** What a call uses up, its Idempotency-Key, and the assertions that it came with. */
export interface SingleUse {
  readonly uses: readonly Use[];
  readonly attested: readonly Attested[];
  readonly idempotencyKey: { readonly digest: string } | null;
}

export interface Intent {
  readonly record: IssuanceRecord;
  readonly plan: MintPlan;
  /** The statement is conditional on both: see `IntendResult`. */
  readonly epoch: number;
  readonly generation: number;
  readonly use: SingleUse;
  /** Set when this intent also opens the task: task row, grants and intent are one transaction. */
  readonly opening: Opening | null;
  /** The narrower of the stored grant's and the active version's; the statement counts against it. */
  readonly budget: Grant['budget'];
  /** The grants above this one: locked with it, in the order of their ids. */
  readonly above: Grant['above'];
  /** Taken from the intended event; `deliver` appends the delivered one. */
  readonly audit: AuditEvent;
}

/** A task to be opened, with its grants; the store counts limits and sets lease times with its own clock. */
export interface Opening {
  readonly task: Task;
  /** Whose limits it counts against: see `OpenCandidate`. */
  readonly countedAs: string;
  readonly maxOpen: number | null;
  readonly opensPerHour: number | null;
  /** Children that its parent may have; null for a task without parent. */
  readonly childrenMax: number | null;
  /** `onChange: end`. */
  readonly endsOnChange: boolean;
  /** `heartbeatLost`. */
  readonly onLapse: DeviationAct;
  readonly audit: AuditEvent;
}

export type IntendResult =
  | { readonly kind: 'intended' }
  | { readonly kind: 'refused'; readonly reason: Reason; readonly retryAfterSeconds?: number }
  /** Another policy, freeze or generation is in force: load and decide again. */
  | { readonly kind: 'stale'; readonly epoch: number; readonly generation: number | null }
  /** The ref is taken by a task that this call did not know: find it and decide again. */
  | { readonly kind: 'ref_taken' }
  | { readonly kind: 'already_issued'; readonly issuanceId: string };

export interface Delivery {
  readonly issuanceId: string;
  readonly keyHash: string | null;
  readonly expiresAt: Date;
  readonly audit: AuditEvent;
}

/** The issuance side of storage. Every method is one committed statement; a Fault with `effect: 'unknown'` when the commit is in doubt. */
export interface Ledger {
  /** For a credential made outside this process: conditional, and before any call. */
  intend(intent: Intent): Promise<IntendResult>;
  /** For a credential signed in memory: intend and deliver in one. `delivered` is appended after `intent.audit`. */
  issueLocal(intent: Intent, delivery: Delivery): Promise<IntendResult>;
  /** False when the intent was reaped or its deadline passed: the credential must not be answered. Renews the lease. */
  deliver(delivery: Delivery): Promise<boolean>;
  /** A refusal to an attested caller: issuance row, audit row, and what it was the last straw for; null: nothing. */
  refuse(
    record: IssuanceRecord,
    seen: { readonly audit: AuditEvent; readonly sighting: Sighting | null },
  ): Promise<DeviationAct | null>;
  /**
   * Takes back one issuance, and whatever shares its reach; the grant goes on under a new generation. False, and
   * nothing is written, when nothing lives that could be taken back. Idempotent.
   */
  revoke(issuanceId: string, audit: AuditEvent): Promise<boolean>;
  /** What a source says of a task: the event, and what it was the last straw for; null: nothing. */
  signal(seen: {
    readonly audit: AuditEvent;
    readonly sighting: Sighting | null;
  }): Promise<DeviationAct | null>;
  /** A refusal before a workload is known, and anything else that is only an event. */
  append(audit: AuditEvent): Promise<void>;
}

export interface TaskFound {
  readonly task: Task;
  readonly status: TaskStatus;
}

export interface Ending {
  readonly state: TaskStatus['state'];
  readonly total: number;
  readonly confirmed: number;
  readonly pending: number;
  readonly byExpiry: number;
  readonly worstCaseAt: Date | null;
}

export type OpenResult =
  | { readonly kind: 'opened'; readonly found: TaskFound }
  | { readonly kind: 'ref_taken' }
  | { readonly kind: 'stale'; readonly epoch: number }
  | { readonly kind: 'refused'; readonly reason: Reason; readonly retryAfterSeconds?: number };

/** A ref is one of its owner, template and parent. */
export interface RefKey {
  readonly template: string;
  readonly owner: string;
  readonly ref: string;
  readonly parentId: string | null;
}

/** The task side of storage. Ending, suspending and resuming reach every task beneath. */
export interface TaskEnd {
  readonly state: ClosedState;
  readonly reason: string;
  readonly audit: AuditEvent;
}

export interface Tasks {
  /** `fresh` reads the database; else the fixed facts and the last known status may come from memory. */
  find(id: string, options?: { fresh?: boolean }): Promise<TaskFound | undefined>;
  findByRef(key: RefKey): Promise<TaskFound | undefined>;
  findByGrant(grantId: string): Promise<TaskFound | undefined>;
  open(opening: Opening, context: { epoch: number; use: SingleUse }): Promise<OpenResult>;
  /** Uses up what works once, all or nothing; the refusal of the first that was used before, or null. */
  use(uses: readonly Use[]): Promise<Reason | null>;
  /** Raises the lease of an open task and answers the state, whatever it is; undefined when unknown. */
  heartbeat(id: string): Promise<TaskStatus | undefined>;
  /** Separate statements in one READ COMMITTED transaction (architecture.md section 5). Idempotent; a closed task keeps its state. */
  end(id: string, end: TaskEnd): Promise<Ending | undefined>;
  /** The same of many, all or none. */
  endMany(ends: ReadonlyMap<string, TaskEnd>): Promise<void>;
  suspend(id: string, suspend: { reason: string; audit: AuditEvent }): Promise<Ending | undefined>;
  /** A new generation; `resumed` false when the task is not suspended. */
  resume(
    id: string,
    resume: { audit: AuditEvent },
  ): Promise<{ resumed: boolean; status: TaskStatus } | undefined>;
  ending(id: string): Promise<Ending | undefined>;
  /**
   * Ends one grant, and what came from it beneath; its task lives on. False, and nothing is written, when it had ended
   * or never was.
   */
  endGrant(grantId: string, end: { audit: AuditEvent }): Promise<boolean>;
}

/** One claimed piece of work. A claim moves `due_at` by the backoff; `settle` deletes the row at the confirmed end. */
export type Work =
  | {
      readonly kind: 'issuance';
      readonly issuanceId: string;
      /** As set by the claim: a due `intended` has become `reaped`, a due `delivered` stays delivered (it expired). */
      readonly state: 'reaped' | 'delivered' | 'revoking';
      readonly plan: MintPlan;
      readonly attempts: number;
      /** Database time minus notAfter, in seconds; negative while the credential can live. */
      readonly secondsPastNotAfter: number;
    }
  | { readonly kind: 'task'; readonly taskId: string; readonly attempts: number };

export interface End {
  readonly issuanceId: string;
  readonly method: EndMethod;
  readonly evidence: Readonly<Record<string, unknown>>;
  readonly audit: AuditEvent;
}

/** The reaper's side of storage: rows only, claimed with FOR UPDATE SKIP LOCKED. */
export interface WorkQueue {
  /** Providers at which something is due, and `''` for tasks. */
  lanes(): Promise<readonly string[]>;
  claim(options: { lane: string; limit: number }): Promise<readonly Work[]>;
  /** Confirmed ends: end rows, audit rows, work rows deleted; one transaction for the batch. */
  settle(ends: readonly End[]): Promise<void>;
  /** Not ended yet: looked at again after this long. */
  postpone(issuanceIds: readonly string[], seconds: number): Promise<void>;
  /**
   * A due task: re-armed when its lease or expiry lies ahead, else says which end it has come to.
   * The task is then ended through `Tasks.end`. `silence` is appended, once, where a lapse is only noted.
   */
  taskDue(
    taskId: string,
    silence: AuditEvent,
  ): Promise<'abandoned' | 'lapsed' | 'expired' | 'rearmed' | 'gone'>;
}

/** One document. Two clusters without accounts have roles of one name: a role is one only within its Provider. */
export interface DenyAt {
  readonly provider: string;
  readonly role: string;
}

/** One deny document per Provider and role (AWS). Regenerated from rows, fenced by a lease and a version. */
export interface DenyStore {
  /**
   * Adds entries (SourceIdentities, needed until) and takes the document's writer lease for `leaseSeconds`.
   * `null` when another writer holds it. `entries` is everything still needed, at `version`.
   */
  request(at: DenyAt, add: readonly DenyEntry[], leaseSeconds: number): Promise<DenyWrite | null>;
  /** Records that this version was read back, and what it says of others; false when a newer one was requested meanwhile (fencing). */
  acknowledge(at: DenyAt, version: number, widened?: DenyWidened | null): Promise<boolean>;
  /** A write that surely changed nothing gives the writer's lease of its version back, so that the next try need not wait. */
  release(at: DenyAt, version: number): Promise<void>;
  /** Documents with entries that were last read more than `olderThanSeconds` ago; `shrinks`: some entry is needed no longer. */
  due(olderThanSeconds: number): Promise<readonly DenyDue[]>;
  /** The document was read and is the acknowledged one; false verdicts put what it denied back to revoking. */
  observed(at: DenyAt, verdict: { intact: boolean; audit: AuditEvent | null }): Promise<void>;
  /** Acknowledged documents that hit others too and of which nobody was told yet. */
  untold(): Promise<readonly DenyUntold[]>;
  /** Tells the log once for this version; nothing when it was told, or when a newer version stands. */
  told(at: DenyAt, version: number, audit: AuditEvent): Promise<void>;
  /** Of these SourceIdentities, those whose denial was acknowledged and that nobody has seen refused; oldest first. */
  unproven(sourceIdentities: readonly string[], limit: number): Promise<readonly DenyUnproven[]>;
  /** A session that this entry denies was seen refused. The log is told once; false when it was, or when the entry is open again. */
  proven(entry: DenyUnproven, audit: AuditEvent): Promise<boolean>;
}

export interface DenyUnproven extends DenyAt {
  readonly sourceIdentity: string;
  /** Whose session it is. */
  readonly taskId: string;
  /** When the document that holds it was read back. */
  readonly acknowledgedAt: Date;
}

/** What a document denies that could not name each session: step by step wider. */
export type DenyWidened =
  /** Every SourceIdentity that starts so. */
  | { readonly step: 'cohort'; readonly prefixes: readonly string[] }
  /** Every session of the role issued before then, RFC 3339. */
  | { readonly step: 'issued-before'; readonly issuedBefore: string }
  /** Every session of the role. */
  | { readonly step: 'everything' };

export interface DenyUntold extends DenyAt {
  readonly version: number;
  readonly entries: number;
  readonly widened: DenyWidened;
  /** Grants with a live credential in this role that are denied and that nobody has ended. */
  readonly innocents: number;
}

export interface DenyDue extends DenyAt {
  readonly version: number;
  /** Exactly what the document of this version holds, sorted. */
  readonly entries: readonly string[];
  readonly shrinks: boolean;
  /** This version was read back once; else its write is unfinished. */
  readonly acknowledged: boolean;
  /** As it was acknowledged. */
  readonly widened: DenyWidened | null;
}

export interface DenyEntry {
  readonly sourceIdentity: string;
  readonly taskId: string;
  readonly neededUntil: Date;
}

export interface DenyWrite {
  readonly version: number;
  readonly entries: readonly string[];
  /** After a recovery nobody knows who was denied before: each version denies every session from before it. */
  readonly isCut?: boolean;
}

/** The policy in force and pinned versions. */
export interface Policies {
  /** From memory; no I/O once loaded. */
  current(): Promise<PolicySet>;
  /** Re-reads the epoch (one small read) and loads the set when it has moved. */
  refresh(): Promise<PolicySet>;
  /** Immutable, cached; undefined when its integrity does not hold or it never existed. */
  version(template: string, version: number): Promise<Template | undefined>;
}

export type { Grant };
