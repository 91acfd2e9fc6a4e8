import { createHash } from 'node:crypto';
import {
  DeleteRolePolicyCommand,
  GetRolePolicyCommand,
  IAMClient,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import {
  auditEvent,
  type CallContext,
  type DenyDue,
  type DenyWidened,
  type DenyWrite,
  Fault,
} from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { awsCall, type Connections, clientOptions, isAbsent } from './call.ts';
import { denyAlarmFraction, denyCharactersMax, denyPolicy, widen, wider } from './deny-policy.ts';
import { baseSeconds } from './plan.ts';
import { type AwsProvider, iamEndpoint, parseAwsProvider, splitRole } from './provider.ts';
import { assume, type Session } from './session.ts';

export const denyPolicyName = 'mayfly-deny';
/** Kills on one role that arrive together become one document. */
const gatherMs = 25;
/** A writer that died holds the role no longer than this; one write and its read-back take far less. */
const writerLeaseSeconds = 20;
const revokerMarginMs = 60_000;

export interface DenyTarget {
  readonly provider: string;
  readonly role: string;
  /** A SourceIdentity, or the session name where there is none. */
  readonly reach: string;
  readonly taskId: string;
}

/** One deny document per role: regenerated from rows, written by one writer, acknowledged after its read-back. */
export interface DenyDocuments {
  /** Returns once the version that holds this entry was read back. */
  deny(target: DenyTarget, context: CallContext): Promise<void>;
  /** Re-reads documents with entries still needed; an older or foreign one is rewritten and alarms. */
  watch(olderThanSeconds: number, context: CallContext, newId: () => string): Promise<void>;
}

/** What the reaper's identity needs of its minter. */
export interface RevokerOptions extends MinterServices {
  readonly connections: Connections;
}

/** What the documents need beside that. */
export interface DenyOptions extends RevokerOptions {
  /** Sessions of the role are denied that nobody named: what is kept of them opens nothing any more. */
  onWidened(role: string, widened: DenyWidened): void;
}

interface Batch {
  readonly targets: DenyTarget[];
  readonly done: Promise<void>;
}

export function createDenyDocuments(options: DenyOptions): DenyDocuments {
  const batches = new Map<string, Batch>();
  /** The last document of each role, written or gathering; one per role that was ever denied. */
  const writing = new Map<string, Promise<void>>();
  const revokers = new Map<string, Session>();
  const deny = (target: DenyTarget, context: CallContext) => {
    const open = batches.get(target.role);
    if (open !== undefined) {
      open.targets.push(target);
      return open.done;
    }
    const targets = [target];
    // While a document is being written the next one gathers: the role's lease is held, also against ourselves.
    const before = writing.get(target.role);
    const done = Promise.all([pause(gatherMs), before?.catch(() => undefined)]).then(() => {
      batches.delete(target.role);
      return write(targets, context);
    });
    batches.set(target.role, { targets, done });
    writing.set(target.role, done);
    return done;
  };
  const write = async (targets: readonly DenyTarget[], context: CallContext) => {
    const [{ provider: name, role } = { provider: '', role: '' }] = targets;
    const provider = providerOf(options, name);
    // Entries are needed until no session of this identity can live: the base is the longest.
    const neededUntil = new Date(context.now.getTime() + baseSeconds * 1000);
    const entries = targets.map(({ provider: of, reach, taskId }) => ({
      ...{ provider: of, sourceIdentity: reach, taskId, neededUntil },
    }));
    const document = await options.deny.request(role, entries, writerLeaseSeconds);
    if (document === null)
      throw new Fault('provider_unavailable', {
        effect: 'none',
        detail: 'another writer holds the deny document',
      });
    await publish(document, { provider, role, context });
  };
  const publish = async (document: DenyWrite, call: Publishing) => {
    let widened: DenyWidened | null;
    try {
      widened = await writeAndRead(document, call, { options, revokers });
    } catch (error) {
      // Surely unchanged: another may write at once. In doubt the lease runs out first.
      if (error instanceof Fault && error.effect === 'none')
        await options.deny.release(call.role, document.version);
      throw error;
    }
    if (!(await options.deny.acknowledge(call.role, document.version, widened)))
      throw new Fault('provider_unavailable', {
        effect: 'none',
        detail: 'a newer deny document was requested meanwhile',
      });
    reportRoom(document, { role: call.role, widened, options });
  };
  return {
    deny,
    watch: async (olderThanSeconds, context, newId) => {
      const failures: unknown[] = [];
      for (const due of await options.deny.due(olderThanSeconds)) {
        try {
          await lookAt({ due, context, newId }, { options, revokers, publish });
        } catch (error) {
          // One role that cannot be read must not hide the others.
          failures.push(error);
        }
      }
      await tell({ context, newId }, options);
      if (failures.length > 0) throw failures[0];
    },
  };
}

interface Publishing {
  readonly provider: AwsProvider;
  readonly role: string;
  readonly context: CallContext;
  /** What the document said before, where nothing was added since: a cut then stays where it is. */
  readonly before?: DenyWidened | null;
}

/** How far the document had to be widened to fit. */
async function writeAndRead(
  document: DenyWrite,
  { provider, role, context, before = null }: Publishing,
  parts: { options: DenyOptions; revokers: Map<string, Session> },
): Promise<DenyWidened | null> {
  const client = await iamClient(provider, context, parts);
  const needed = widen(document, context.now);
  const first = needed?.step === 'issued-before' && before?.step === needed.step ? before : needed;
  const widened = await putWhatFits(client, role, { document, first, context });
  const seen = await readDenyPolicy(client, role, context.signal).catch((error: unknown) => {
    if (!(error instanceof Fault)) throw error;
    // The document was written, whatever the failed look says of itself.
    const { reason, detail = reason } = error;
    throw new Fault(reason, { effect: 'unknown', detail, cause: error });
  });
  if (seen !== wanted(document, widened))
    throw new Fault('provider_unavailable', {
      effect: 'unknown',
      detail: 'read-back shows another deny document',
    });
  return widened;
}

/** Wider where IAM has no room: the kill comes first, and who else is hit is counted and told. */
async function putWhatFits(
  client: IAMClient,
  role: string,
  { document, first, context }: { document: DenyWrite; first: DenyWidened | null; context: CallContext },
): Promise<DenyWidened | null> {
  let widened = first;
  for (;;) {
    try {
      await put(client, role, { text: wanted(document, widened), signal: context.signal });
      return widened;
    } catch (error) {
      const next = isFull(error) ? wider(widened, context.now) : null;
      if (next === null) throw error;
      widened = next;
    }
  }
}

function isFull(error: unknown): boolean {
  const cause = error instanceof Fault ? error.cause : undefined;
  return cause instanceof Error && cause.name === 'LimitExceededException';
}

interface Room {
  readonly role: string;
  readonly widened: DenyWidened | null;
  readonly options: DenyOptions;
}

function reportRoom({ version, entries }: DenyWrite, { role, widened, options }: Room): void {
  if (widened !== null) {
    options.onWidened(role, widened);
    const { step } = widened;
    options.report('the deny document could not name each session, and hits others', {
      ...{ role, version, step, entries: entries.length, alarm: 'deny_widened' },
    });
    return;
  }
  const characters = denyPolicy({ version, entries }).length;
  if (characters < denyCharactersMax * denyAlarmFraction) return;
  options.report('the deny document is filling; spread the provider over more roles', {
    ...{ role, version, entries: entries.length, characters, charactersMax: denyCharactersMax },
    alarm: 'deny_slots',
  });
}

/** Every step wider is an event of its own, with the count of those it hits unjustly. */
async function tell(
  { context, newId }: Pick<Looking, 'context' | 'newId'>,
  { deny }: DenyOptions,
): Promise<void> {
  for (const { role, version, widened, entries, innocents } of await deny.untold()) {
    const body = { role, version, ...widened, entries, innocents };
    const event = { type: 'deny.widened', actor: 'mayfly', body };
    await deny.told(role, version, auditEvent({ newId, now: context.now }, event));
  }
}

interface Looking {
  readonly due: DenyDue;
  readonly context: CallContext;
  readonly newId: () => string;
}

interface Parts {
  readonly options: DenyOptions;
  readonly revokers: Map<string, Session>;
  publish(document: DenyWrite, call: Publishing): Promise<void>;
}

// IAM has no compare-and-set: a delayed write may land after a newer one, so what was acknowledged is looked at again.
async function lookAt(
  { due, context, newId }: Looking,
  { options, revokers, publish }: Parts,
): Promise<void> {
  const { role, version, shrinks, acknowledged } = due;
  const provider = providerOf(options, due.provider);
  const client = await iamClient(provider, context, { options, revokers });
  const seen = await readDenyPolicy(client, role, context.signal);
  const intact = seen === wanted(due, due.widened);
  // What was requested and never acknowledged is only unfinished: no alarm, it is written now.
  if (!intact && acknowledged) {
    options.report('deny document is not the one acknowledged; written again', {
      role,
      version,
      alarm: 'deny_document',
    });
    const event = { type: 'deny.foreign', actor: 'mayfly', body: { role, version } };
    const audit = auditEvent({ newId, now: context.now }, event);
    await options.deny.observed(role, { intact, audit });
  } else if (intact && acknowledged) await options.deny.observed(role, { intact, audit: null });
  // The answer to its write was lost. Left unacknowledged, whoever undid it later would not be noticed.
  else if (intact) await options.deny.acknowledge(role, version, due.widened);
  if (intact && !shrinks) return;
  const document = await options.deny.request(role, [], writerLeaseSeconds);
  const before = acknowledged ? due.widened : null;
  if (document !== null) await publish(document, { provider, role, context, before });
}

function wanted(
  document: Pick<DenyWrite, 'version' | 'entries'>,
  widened: DenyWidened | null,
): string | null {
  return document.entries.length === 0 ? null : denyPolicy(document, widened);
}

async function put(
  client: IAMClient,
  role: string,
  { text, signal: abortSignal }: { text: string | null; signal: AbortSignal },
): Promise<void> {
  const name = { RoleName: splitRole(role).name, PolicyName: denyPolicyName };
  if (text !== null) {
    const command = new PutRolePolicyCommand({ ...name, PolicyDocument: text });
    await awsCall('PutRolePolicy', () => client.send(command, { abortSignal }));
    return;
  }
  await ignoreAbsent(
    awsCall('DeleteRolePolicy', () => client.send(new DeleteRolePolicyCommand(name), { abortSignal })),
  );
}

/** Null where there is none. */
export async function readDenyPolicy(
  client: IAMClient,
  role: string,
  abortSignal: AbortSignal,
): Promise<string | null> {
  const command = new GetRolePolicyCommand({ RoleName: splitRole(role).name, PolicyName: denyPolicyName });
  const answer = await ignoreAbsent(awsCall('GetRolePolicy', () => client.send(command, { abortSignal })));
  return answer?.PolicyDocument === undefined ? null : decodeURIComponent(answer.PolicyDocument);
}

async function ignoreAbsent<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** The reaper's own identity, apart from the minter's: it may write this one policy and nothing else. */
export async function iamClient(
  provider: AwsProvider,
  context: CallContext,
  { options, revokers }: { options: RevokerOptions; revokers: Map<string, Session> },
): Promise<IAMClient> {
  const base = clientOptions(iamEndpoint(provider), provider.region, options.connections);
  const role = provider.revoker?.role;
  if (role === undefined) return new IAMClient(base);
  const kept = revokers.get(role);
  const session =
    kept !== undefined && kept.expiresAt.getTime() > context.now.getTime() + revokerMarginMs
      ? kept
      : undefined;
  const live = session ?? (await assumeRevoker(provider, role, { options, context }));
  revokers.set(role, live);
  return new IAMClient({ ...base, credentials: live.keys.reveal() });
}

function assumeRevoker(
  provider: AwsProvider,
  role: string,
  { options, context }: { options: RevokerOptions; context: CallContext },
): Promise<Session> {
  const sessionName = `mayfly-reaper-${createHash('sha256').update(`${role}${context.now.getTime()}`).digest('hex').slice(0, 16)}`;
  const request = {
    provider,
    purpose: 'revoke' as const,
    role,
    sessionName,
    sourceIdentity: null,
    policy: null,
  };
  return assume(
    { ...request, durationSeconds: baseSeconds },
    { ...context, federation: options.federation, connections: options.connections },
  );
}

function providerOf(options: DenyOptions, name: string): AwsProvider {
  const provider = options.provider(name);
  if (provider === undefined)
    throw new Fault('provider_refused', { effect: 'none', detail: `provider ${name} is gone` });
  return parseAwsProvider(provider);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
