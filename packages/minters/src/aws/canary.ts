import { auditEvent, type CallContext, type DenyUnproven, Fault } from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { awsCall, type Connections, clientOptions } from './call.ts';
import { type AwsProvider, s3Endpoint } from './provider.ts';
import type { Session } from './session.ts';

/** Sessions remembered to look with; the oldest goes first. Without its session a denial stays `deny_acked`. */
const sessionsMax = 10_000;
/** One pass looks with no more than this, so that many ends at once do not become as many calls. */
const looksMax = 20;
/** IAM's changes take seconds as others have measured; a session that still works after this is told. */
const slowMs = 120_000;
/** The first look of a session is nobody's request: it has a time of its own. */
const firstLookMs = 5_000;

export interface CanaryOptions extends Pick<MinterServices, 'deny' | 'report' | 'now'> {
  readonly connections: Connections;
}

/** A base session of this replica, and what denies it. */
export interface Held {
  readonly provider: AwsProvider;
  readonly role: string;
  readonly reach: string;
  readonly session: Session;
}

/**
 * Shows that a denial is felt: an object that the role may read is read with the base session when it is made, and again
 * once its denial was acknowledged. Only a session that was let in before proves anything when it is refused; where the
 * replica that holds it dies, the denial stays acknowledged and no more is said.
 */
export class Canary {
  readonly #options: CanaryOptions;
  /** By reach: those that were let in. */
  readonly #letIn = new Map<string, Held>();
  readonly #meeting = new Set<Promise<void>>();
  /** What was told once: a reach whose denial is slow, a Provider's role whose canary is not there. */
  readonly #told = new Set<string>();

  constructor(options: CanaryOptions) {
    this.#options = options;
  }

  /** Looks once, behind the exchange that made the session: nothing waits for it but the next look. */
  meet(held: Held): void {
    const { provider } = held;
    if (provider.canary === undefined || provider.canary === null || provider.revoke === 'none') return;
    const meeting = this.#meet(held).finally(() => this.#meeting.delete(meeting));
    this.#meeting.add(meeting);
  }

  async #meet(held: Held): Promise<void> {
    const { provider, role } = held;
    const place = `${provider.name}\n${role}`;
    const answer = await readCanary(held, this.#options.connections, AbortSignal.timeout(firstLookMs));
    if (answer === 'let-in') {
      this.#told.delete(place);
      this.#keep(held);
    } else if (!this.#told.has(place)) {
      this.#tell(place);
      this.#options.report('the canary cannot be read, so no denial is seen to be felt', {
        ...{ provider: provider.name, role, answer, alarm: 'canary' },
      });
    }
  }

  /** Looks again with the sessions whose denial was acknowledged and that nobody has seen refused. */
  async look(context: CallContext & { readonly newId: () => string }): Promise<void> {
    await Promise.all(this.#meeting);
    for (const [reach, { session }] of this.#letIn) if (session.expiresAt <= context.now) this.#forget(reach);
    if (this.#letIn.size === 0) return;
    const due = await this.#options.deny.unproven([...this.#letIn.keys()], looksMax);
    await Promise.all(due.map((entry) => this.#lookAt(entry, context)));
  }

  async #lookAt(entry: DenyUnproven, context: CallContext & { newId: () => string }): Promise<void> {
    const { provider, role, sourceIdentity: reach, taskId, acknowledgedAt } = entry;
    const held = this.#letIn.get(reach);
    if (held === undefined || held.role !== role || held.provider.name !== provider) return;
    const answer = await readCanary(held, this.#options.connections, context.signal);
    const at = this.#options.now();
    const seconds = Math.max(0, Math.round((at.getTime() - acknowledgedAt.getTime()) / 1000));
    if (answer === 'refused') {
      const body = { provider, role, reach, secondsAfterAcknowledged: seconds };
      const event = { type: 'deny.effective', actor: 'mayfly', taskId, body };
      await this.#options.deny.proven(entry, auditEvent({ newId: context.newId, now: at }, event));
      this.#forget(reach);
    } else if (answer === 'let-in' && seconds * 1000 >= slowMs && !this.#told.has(reach)) {
      this.#tell(reach);
      this.#options.report('a denied session still works', {
        ...{ provider, role, reach, seconds, alarm: 'deny_slow' },
      });
    }
  }

  #keep(held: Held): void {
    this.#letIn.set(held.reach, held);
    const [oldest] = this.#letIn.keys();
    if (this.#letIn.size > sessionsMax && oldest !== undefined) this.#forget(oldest);
  }

  #tell(what: string): void {
    this.#told.add(what);
    const [oldest] = this.#told;
    if (this.#told.size > sessionsMax && oldest !== undefined) this.#told.delete(oldest);
  }

  #forget(reach: string): void {
    this.#letIn.delete(reach);
    this.#told.delete(reach);
  }
}

/** What S3 says of one session: let in, refused as such, or nothing that tells (away, expired, throttled). */
export async function readCanary(
  { provider, session }: Pick<Held, 'provider' | 'session'>,
  connections: Connections,
  abortSignal: AbortSignal,
): Promise<'let-in' | 'refused' | 'unclear'> {
  const [Bucket = '', ...rest] = (provider.canary ?? '').split(':').slice(5).join(':').split('/');
  try {
    // Loaded where a canary is configured, and nowhere else.
    const { GetObjectCommand, S3Client } = await import('@aws-sdk/client-s3');
    const client = new S3Client({
      ...clientOptions(s3Endpoint(provider), provider.region, connections),
      forcePathStyle: provider.endpoints?.s3 !== undefined,
      credentials: session.keys.reveal(),
    });
    // One byte, and not HEAD: only an answer with a body names its error.
    const command = new GetObjectCommand({ Bucket, Key: rest.join('/'), Range: 'bytes=0-0' });
    const { Body } = await awsCall('GetObject', () => client.send(command, { abortSignal }));
    await Body?.transformToByteArray();
    return 'let-in';
  } catch (error) {
    const cause = error instanceof Fault ? error.cause : undefined;
    return cause instanceof Error && cause.name === 'AccessDenied' ? 'refused' : 'unclear';
  }
}
