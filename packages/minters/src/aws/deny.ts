import {
  DeleteRolePolicyCommand,
  GetRolePolicyCommand,
  type IAMClient,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import {
  auditEvent,
  type CallContext,
  type DenyAt,
  type DenyDue,
  type DenyWidened,
  type DenyWrite,
  Fault,
  unlessAborted,
} from '@mayfly/core';
import { awsCall, isAbsent } from './call.ts';
import {
  denyAlarmFraction,
  denyCharactersMax,
  denyPolicy,
  issuedBefore,
  widen,
  wider,
} from './deny-policy.ts';
import { baseSeconds } from './plan.ts';
import { type AwsPlace, type AwsProvider, parseAwsProvider, refuseMoved, splitRole } from './provider.ts';
import { type RevokerOptions, Revokers } from './revokers.ts';

/** Of each Provider its own: two that share a role of one account would overwrite each other's denials. */
export function denyPolicyName(provider: string): string {
  return `mayfly-deny-${provider}`;
}

/** Kills on one role that arrive together become one document. */
const gatherMs = 25;
/** A writer that died holds the role no longer than this; one write and its read-back take far less. */
const writerLeaseSeconds = 20;
/** Many wait for one document, so it is written in a time of its own, well within its writer's lease. */
const writeTimeoutMs = 15_000;

/** Where, and whom. */
export interface DenyTarget extends DenyAt, AwsPlace {
  /** A SourceIdentity, or the session name where there is none. */
  readonly reach: string;
  readonly taskId: string;
}

/** One deny document per Provider and role: regenerated from rows, written by one writer, acknowledged after its read-back. */
export interface DenyDocuments {
  /** Returns once the version that holds this entry was read back. */
  deny(target: DenyTarget, context: CallContext): Promise<void>;
  /** Re-reads documents with entries still needed; an older or foreign one is rewritten and alarms. */
  watch(olderThanSeconds: number, context: CallContext, newId: () => string): Promise<void>;
}

export interface DenyOptions extends RevokerOptions {
  /** Sessions of the role are denied that nobody named: what is kept of them opens nothing any more. */
  onWidened(at: DenyAt, widened: DenyWidened): void;
  /** Cuts one write with its read-back; left out: after 15 s. */
  deadline?(): AbortSignal;
}

interface Batch {
  readonly targets: DenyTarget[];
  readonly done: Promise<void>;
}

export function createDenyDocuments(options: DenyOptions): DenyDocuments {
  const batches = new Map<string, Batch>();
  /** The last document of each Provider and role, written or gathering; one for each that was ever denied. */
  const writing = new Map<string, Promise<void>>();
  const revokers = new Revokers(options);
  const deadline = options.deadline ?? (() => AbortSignal.timeout(writeTimeoutMs));
  const deny = (target: DenyTarget, context: CallContext) =>
    unlessAborted(
      context.signal,
      batch(target, context),
      () =>
        new Fault('provider_unavailable', {
          effect: 'unknown',
          detail: 'the deny document was not acknowledged within the deadline',
        }),
    );
  const batch = (target: DenyTarget, context: CallContext) => {
    const { provider, sts, iam, role } = target;
    // Also by where: those of before a move must not pass with those of after it.
    const key = [provider, sts, iam, role].join('\n');
    const open = batches.get(key);
    if (open !== undefined) {
      open.targets.push(target);
      return open.done;
    }
    const targets = [target];
    // While a document is being written the next one gathers: the role's lease is held, also against ourselves.
    const before = writing.get(key);
    const done = Promise.all([pause(gatherMs), before?.catch(() => undefined)]).then(() => {
      batches.delete(key);
      return write({ provider, sts, iam, role }, targets, { ...context, signal: deadline() });
    });
    batches.set(key, { targets, done });
    writing.set(key, done);
    return done;
  };
  const write = async (where: DenyAt & AwsPlace, targets: readonly DenyTarget[], context: CallContext) => {
    const provider = providerOf(options, where.provider);
    refuseMoved(provider, where);
    const at = { provider: provider.name, role: where.role };
    // Entries are needed until no session of this identity can live: the base is the longest.
    const neededUntil = new Date(context.now.getTime() + baseSeconds * 1000);
    const entries = targets.map(({ reach, taskId }) => ({ sourceIdentity: reach, taskId, neededUntil }));
    const document = await options.deny.request(at, entries, writerLeaseSeconds);
    if (document === null)
      throw new Fault('provider_unavailable', {
        effect: 'none',
        detail: 'another writer holds the deny document',
        // It writes for a moment, or has died: its lease ends in any case.
        retryAfterSeconds: 1,
      });
    await publish(document, { provider, role: at.role, context });
  };
  const publish = async (document: DenyWrite, call: Publishing) => {
    const at = { provider: call.provider.name, role: call.role };
    let widened: DenyWidened | null;
    try {
      widened = await revokers.run(call.provider, call.context, (client) =>
        writeAndRead(document, call, client),
      );
    } catch (error) {
      // Surely unchanged: another may write at once. In doubt the lease runs out first.
      if (error instanceof Fault && error.effect === 'none') await options.deny.release(at, document.version);
      throw error;
    }
    if (!(await options.deny.acknowledge(at, document.version, widened)))
      throw new Fault('provider_unavailable', {
        effect: 'none',
        detail: 'a newer deny document was requested meanwhile',
      });
    reportRoom(document, { at, widened, options });
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
  client: IAMClient,
): Promise<DenyWidened | null> {
  const needed = document.isCut === true ? issuedBefore(context.now) : widen(document, context.now);
  const first = needed?.step === 'issued-before' && before?.step === needed.step ? before : needed;
  const named = policyOf({ provider: provider.name, role });
  const widened = await putWhatFits(client, named, { document, first, context });
  const seen = await readDenyPolicy(client, { provider: provider.name, role }, context.signal).catch(
    (error: unknown) => {
      if (!(error instanceof Fault)) throw error;
      // The document was written, whatever the failed look says of itself.
      const { reason, detail = reason } = error;
      throw new Fault(reason, { effect: 'unknown', detail, cause: error });
    },
  );
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
  named: PolicyName,
  { document, first, context }: { document: DenyWrite; first: DenyWidened | null; context: CallContext },
): Promise<DenyWidened | null> {
  let widened = first;
  for (;;) {
    try {
      await put(client, named, { text: wanted(document, widened), signal: context.signal });
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
  readonly at: DenyAt;
  readonly widened: DenyWidened | null;
  readonly options: DenyOptions;
}

function reportRoom({ version, entries }: DenyWrite, { at, widened, options }: Room): void {
  if (widened !== null) {
    options.onWidened(at, widened);
    const { step } = widened;
    options.report('the deny document could not name each session, and hits others', {
      ...{ ...at, version, step, entries: entries.length, alarm: 'deny_widened' },
    });
    return;
  }
  const characters = denyPolicy({ version, entries }).length;
  if (characters < denyCharactersMax * denyAlarmFraction) return;
  options.report('the deny document is filling; spread the provider over more roles', {
    ...{ ...at, version, entries: entries.length, characters, charactersMax: denyCharactersMax },
    alarm: 'deny_slots',
  });
}

/** Every step wider is an event of its own, with the count of those it hits unjustly. */
async function tell(
  { context, newId }: Pick<Looking, 'context' | 'newId'>,
  { deny }: DenyOptions,
): Promise<void> {
  for (const { provider, role, version, widened, entries, innocents } of await deny.untold()) {
    const body = { provider, role, version, ...widened, entries, innocents };
    const event = { type: 'deny.widened', actor: 'mayfly', body };
    await deny.told({ provider, role }, version, auditEvent({ newId, now: context.now }, event));
  }
}

interface Looking {
  readonly due: DenyDue;
  readonly context: CallContext;
  readonly newId: () => string;
}

interface Parts {
  readonly options: DenyOptions;
  readonly revokers: Revokers;
  publish(document: DenyWrite, call: Publishing): Promise<void>;
}

// IAM has no compare-and-set: a delayed write may land after a newer one, so what was acknowledged is looked at again.
async function lookAt(
  { due, context, newId }: Looking,
  { options, revokers, publish }: Parts,
): Promise<void> {
  const { role, version, shrinks, acknowledged } = due;
  const provider = providerOf(options, due.provider);
  const at = { provider: provider.name, role };
  const seen = await revokers.run(provider, context, (client) => readDenyPolicy(client, at, context.signal));
  const intact = seen === wanted(due, due.widened);
  // What was requested and never acknowledged is only unfinished: no alarm, it is written now.
  if (!intact && acknowledged) {
    options.report('deny document is not the one acknowledged; written again', {
      ...at,
      version,
      alarm: 'deny_document',
    });
    const event = { type: 'deny.foreign', actor: 'mayfly', body: { ...at, version } };
    const audit = auditEvent({ newId, now: context.now }, event);
    await options.deny.observed(at, { intact, audit });
  } else if (intact && acknowledged) await options.deny.observed(at, { intact, audit: null });
  // The answer to its write was lost. Left unacknowledged, whoever undid it later would not be noticed.
  else if (intact) await options.deny.acknowledge(at, version, due.widened);
  if (intact && !shrinks) return;
  const document = await options.deny.request(at, [], writerLeaseSeconds);
  const before = acknowledged ? due.widened : null;
  if (document !== null) await publish(document, { provider, role, context, before });
}

function wanted(
  document: Pick<DenyWrite, 'version' | 'entries'>,
  widened: DenyWidened | null,
): string | null {
  return document.entries.length === 0 ? null : denyPolicy(document, widened);
}

interface PolicyName {
  readonly RoleName: string;
  readonly PolicyName: string;
}

function policyOf({ provider, role }: DenyAt): PolicyName {
  return { RoleName: splitRole(role).name, PolicyName: denyPolicyName(provider) };
}

async function put(
  client: IAMClient,
  name: PolicyName,
  { text, signal: abortSignal }: { text: string | null; signal: AbortSignal },
): Promise<void> {
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
  at: DenyAt,
  abortSignal: AbortSignal,
): Promise<string | null> {
  const command = new GetRolePolicyCommand(policyOf(at));
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

function providerOf(options: DenyOptions, name: string): AwsProvider {
  const provider = options.provider(name);
  if (provider === undefined)
    throw new Fault('provider_refused', { effect: 'none', detail: `provider ${name} is gone` });
  return parseAwsProvider(provider);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
