import { auditEvent } from './audit-event.ts';
import { lineageRefusal } from './cover.ts';
import { Fault, Refusal } from './errors.ts';
import { lineageOf } from './find.ts';
import { endTask, type LifecyclePorts } from './lifecycle.ts';
import type { AuditEvent } from './ports.ts';
import type { RevocationRequest } from './revocation.ts';
import type { Task } from './task.ts';
import type { PolicySet, TrustedIssuer } from './template.ts';
import { type ClaimValue, type Identity, workloadName } from './workload.ts';

/** A security event token (RFC 8417), verified: what its transmitter says of one of the subjects of its TrustedIssuer. */
export interface SecurityEvent {
  /** SHA-256 hex of (iss, jti): the same again has no second effect. */
  readonly id: string;
  readonly jti: string;
  /** URI of the event type. */
  readonly type: string;
  /** What it means here: every task of the subject ends, or those that its new claims would not open. */
  readonly effect: 'end' | 'reevaluate' | 'none';
  /** `sub` of the subject's assertions; null where the event is about none. */
  readonly subject: string | null;
  /** When it happened, by the transmitter's clock: what was attested later is not concerned. */
  readonly at: Date;
  /** New values by name; null: the subject has the claim no more. */
  readonly claims: Readonly<Record<string, ClaimValue | null>>;
}

/** An assertion that a call came with. */
export interface Attested {
  readonly issuerName: string;
  readonly subject: string;
  /** Left out where the assertion does not say: then it counts as older than any event. */
  readonly issuedAt?: Date;
}

/** Assertions from before `before` count no more; kept until none of them can live. */
export interface SubjectCut {
  readonly issuerName: string;
  readonly subject: string;
  readonly before: Date;
  readonly until: Date;
  /** Nor do the tasks that they opened, before their end has come. */
  readonly withTasks: boolean;
}

export interface ReceivedEvent {
  readonly id: string;
  readonly issuerName: string;
  readonly cut: SubjectCut | null;
  /** Asked for in the same statement; a task that is named gives nothing from its commit on. */
  readonly revocations: readonly RevocationRequest[];
  /** Tasks that the events of one transmitter may end in a minute; the first of a minute may end more. */
  readonly endsPerMinute: number;
  readonly audit: AuditEvent;
}

export type EventReceipt =
  | { readonly kind: 'received' }
  /** It came before. */
  | { readonly kind: 'seen' }
  | { readonly kind: 'limited'; readonly retryAfterSeconds: number };

/** What is durable of security events. */
export interface EventInbox {
  /** Cut, revocations and the memory of the event are one statement; it is told of once. */
  receive(event: ReceivedEvent): Promise<EventReceipt>;
  /** Waits until every transaction that may not have seen the event is over; false when one goes on for long. */
  settled(id: string): Promise<boolean>;
  /** Live tasks of the subject, or in which it acts, after this id and in the order of ids. */
  tasksOf(subject: { issuerName: string; subject: string }, page: TaskPage): Promise<readonly string[]>;
  /** Whether one of these assertions is from before a cut. */
  isCut(attested: readonly Attested[]): Promise<boolean>;
}

export interface TaskPage {
  readonly after: string | null;
  readonly limit: number;
}

export interface EventPorts extends LifecyclePorts {
  readonly revocations: EventInbox;
  /** How far clocks may differ. */
  readonly skewSeconds: number;
}

const pageLimit = 200;

/**
 * Does what the event means; durable when it answers. From then on assertions of the subject from before it are refused
 * on every replica, and its tasks end as a revocation that any replica goes on with. Refusal: rate_limited.
 */
export async function receiveEvent(
  event: SecurityEvent,
  issuer: TrustedIssuer,
  ports: EventPorts,
): Promise<'received' | 'seen'> {
  const { name: issuerName, maxLifetimeSeconds, events } = issuer;
  const { subject, at } = event;
  const now = ports.now();
  const concerned = event.effect === 'none' || subject === null ? null : { issuerName, subject };
  const revocations = concerned === null ? [] : await revocationsFor(event, { concerned, issuerName, ports });
  const untilMs = now.getTime() + (maxLifetimeSeconds + 2 * ports.skewSeconds) * 1000;
  const draft = {
    type: 'event.received',
    actor: issuerName,
    body: {
      jti: event.jti,
      event: event.type,
      subject: concerned === null ? null : workloadName(concerned),
      at: at.toISOString(),
      effect: event.effect,
      revocations: revocations.map(({ id }) => id),
    },
  };
  const receipt = await ports.revocations.receive({
    ...{ id: event.id, issuerName, revocations },
    cut: concerned === null ? null : cutOf(event, concerned, new Date(untilMs)),
    endsPerMinute: events?.endsPerMinute ?? 0,
    audit: auditEvent({ newId: ports.newId, now }, draft),
  });
  if (receipt.kind === 'limited') {
    const { retryAfterSeconds } = receipt;
    throw new Refusal('rate_limited', { retryAfterSeconds, detail: 'endsPerMinute of its transmitter' });
  }
  if (event.effect === 'reevaluate' && concerned !== null)
    await endLate(event, { concerned, issuerName, ports });
  return receipt.kind;
}

/** A task whose opening was under way when the others were looked at; also asked when the event comes again. */
async function endLate(event: SecurityEvent, context: Concerned): Promise<void> {
  const { ports, issuerName } = context;
  if (!(await ports.revocations.settled(event.id)))
    throw new Fault('overloaded', { effect: 'unknown', detail: 'an older transaction does not end' });
  const end = { state: 'cancelled', reason: reasonOf(event), actor: issuerName } as const;
  for (const id of await tasksLost(event, context)) await endTask(id, end, ports);
}

function reasonOf({ type }: SecurityEvent): string {
  return `security event: ${type.slice(type.lastIndexOf('/') + 1)}`;
}

function cutOf({ at, effect }: SecurityEvent, concerned: Concerned['concerned'], until: Date): SubjectCut {
  return { ...concerned, before: at, until, withTasks: effect === 'end' };
}

interface Concerned {
  readonly concerned: { readonly issuerName: string; readonly subject: string };
  readonly issuerName: string;
  readonly ports: EventPorts;
}

async function revocationsFor(
  event: SecurityEvent,
  context: Concerned,
): Promise<readonly RevocationRequest[]> {
  const { concerned, issuerName, ports } = context;
  const request = { reason: reasonOf(event), requestedBy: issuerName };
  if (event.effect === 'end') {
    const scope = { by: 'session', name: workloadName(concerned), attestedBefore: event.at } as const;
    return [{ id: ports.newId(), ...scope, ...request }];
  }
  const tasks = await tasksLost(event, context);
  return tasks.map((name) => ({ id: ports.newId(), by: 'task', name, ...request }));
}

/** Those tasks of the subject that its new claims would not have opened. */
async function tasksLost(event: SecurityEvent, { concerned, ports }: Concerned): Promise<readonly string[]> {
  const policy = await ports.policies.refresh();
  const lost: string[] = [];
  for (let after: string | null = null; ; ) {
    const ids = await ports.revocations.tasksOf(concerned, { after, limit: pageLimit });
    for (const id of ids) {
      const found = await ports.tasks.find(id);
      if (found !== undefined && (await isLost(found.task, { event, concerned, policy, ports })))
        lost.push(id);
    }
    after = ids.at(-1) ?? null;
    if (ids.length < pageLimit) return lost;
  }
}

async function isLost(
  task: Task,
  {
    event,
    concerned,
    policy,
    ports,
  }: Pick<Concerned, 'concerned' | 'ports'> & { event: SecurityEvent; policy: PolicySet },
): Promise<boolean> {
  const changed = <T extends Identity>(one: T): T =>
    one.issuerName === concerned.issuerName && one.subject === concerned.subject
      ? { ...one, claims: changedClaims(one.claims, event.claims) }
      : one;
  const lineage = await lineageOf(task, ports);
  if (lineage.some(({ pinned }) => pinned === undefined)) return true;
  const parties = { identity: changed(task.workload), actors: task.actors.map(changed) };
  return lineageRefusal(policy, lineage, parties) !== null;
}

function changedClaims(
  claims: Identity['claims'],
  changes: SecurityEvent['claims'],
): Readonly<Record<string, ClaimValue>> {
  const kept = Object.entries({ ...claims, ...changes, sub: claims['sub'] ?? null });
  return Object.fromEntries(kept.flatMap(([name, value]) => (value === null ? [] : [[name, value]])));
}
