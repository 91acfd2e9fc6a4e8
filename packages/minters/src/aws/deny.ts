import { createHash } from 'node:crypto';
import {
  DeleteRolePolicyCommand,
  GetRolePolicyCommand,
  IAMClient,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { auditEvent, type CallContext, type DenyDue, type DenyWrite, Fault } from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { awsCall, type Connections, clientOptions, isAbsent } from './call.ts';
import { baseSeconds } from './plan.ts';
import { type AwsProvider, iamEndpoint, parseAwsProvider, splitRole } from './provider.ts';
import { assume, type Session } from './session.ts';

export const denyPolicyName = 'mayfly-deny';
/** Inline policies of a role: 10,240 characters in all, 2,000 of them kept for its own (cloud-aws.md section 3). */
const documentCharactersMax = 8_240;
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
}

/** One deny document per role: regenerated from rows, written by one writer, acknowledged after its read-back. */
export interface DenyDocuments {
  /** Returns once the version that holds this entry was read back. */
  deny(target: DenyTarget, context: CallContext): Promise<void>;
  /** Re-reads documents with entries still needed; an older or foreign one is rewritten and alarms. */
  watch(olderThanSeconds: number, context: CallContext, newId: () => string): Promise<void>;
}

/** What the documents need of their minter. */
export interface DenyOptions extends MinterServices {
  readonly connections: Connections;
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
    const entries = targets.map(({ provider: of, reach }) => ({
      provider: of,
      sourceIdentity: reach,
      neededUntil,
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
    try {
      await writeAndRead(document, call, { options, revokers });
    } catch (error) {
      // Surely unchanged: another may write at once. In doubt the lease runs out first.
      if (error instanceof Fault && error.effect === 'none')
        await options.deny.release(call.role, document.version);
      throw error;
    }
    if (!(await options.deny.acknowledge(call.role, document.version)))
      throw new Fault('provider_unavailable', {
        effect: 'none',
        detail: 'a newer deny document was requested meanwhile',
      });
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
      if (failures.length > 0) throw failures[0];
    },
  };
}

interface Publishing {
  readonly provider: AwsProvider;
  readonly role: string;
  readonly context: CallContext;
}

async function writeAndRead(
  document: DenyWrite,
  { provider, role, context }: Publishing,
  parts: { options: DenyOptions; revokers: Map<string, Session> },
): Promise<void> {
  const client = await iamClient(provider, context, parts);
  await put(client, role, document, context.signal);
  const seen = await read(client, role, context.signal).catch((error: unknown) => {
    if (!(error instanceof Fault)) throw error;
    // The document was written, whatever the failed look says of itself.
    const { reason, detail = reason } = error;
    throw new Fault(reason, { effect: 'unknown', detail, cause: error });
  });
  if (seen !== wanted(document))
    throw new Fault('provider_unavailable', {
      effect: 'unknown',
      detail: 'read-back shows another deny document',
    });
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
  const seen = await read(client, role, context.signal);
  const intact = seen === wanted(due);
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
  } else if (intact) await options.deny.observed(role, { intact, audit: null });
  if (intact && !shrinks) return;
  const document = await options.deny.request(role, [], writerLeaseSeconds);
  if (document !== null) await publish(document, { provider, role, context });
}

/** A session name of plan.ts: 40 digits of a hash, which no SourceIdentity has. */
const sessionNameForm = /^mf-[0-9a-f]{40}$/;

/** Denies everything for these SourceIdentities and session names; positive operators, so that other sessions are untouched. */
export function denyPolicy({ version, entries }: Pick<DenyWrite, 'version' | 'entries'>): string {
  const identities = entries.filter((one) => !sessionNameForm.test(one));
  // `aws:userid` of a session is `ROLEID:SESSION`.
  const names = entries.filter((one) => sessionNameForm.test(one)).map((one) => `*:${one}`);
  const deny = { Effect: 'Deny', Action: '*', Resource: '*' };
  const byIdentity = { StringEquals: { 'aws:SourceIdentity': identities } };
  const byName = { StringLike: { 'aws:userid': names } };
  const text = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      ...(identities.length === 0 ? [] : [{ Sid: `MayflyDenyV${version}`, ...deny, Condition: byIdentity }]),
      ...(names.length === 0 ? [] : [{ Sid: `MayflyDenyNamesV${version}`, ...deny, Condition: byName }]),
    ],
  });
  if (text.length <= documentCharactersMax) return text;
  const detail = `deny document full: ${entries.length} entries; spread the provider over more roles`;
  throw new Fault('provider_refused', { effect: 'none', detail });
}

function wanted(document: Pick<DenyWrite, 'version' | 'entries'>): string | null {
  return document.entries.length === 0 ? null : denyPolicy(document);
}

async function put(
  client: IAMClient,
  role: string,
  document: DenyWrite,
  abortSignal: AbortSignal,
): Promise<void> {
  const name = { RoleName: splitRole(role).name, PolicyName: denyPolicyName };
  if (document.entries.length > 0) {
    const command = new PutRolePolicyCommand({ ...name, PolicyDocument: denyPolicy(document) });
    await awsCall('PutRolePolicy', () => client.send(command, { abortSignal }));
    return;
  }
  await ignoreAbsent(
    awsCall('DeleteRolePolicy', () => client.send(new DeleteRolePolicyCommand(name), { abortSignal })),
  );
}

async function read(client: IAMClient, role: string, abortSignal: AbortSignal): Promise<string | null> {
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
async function iamClient(
  provider: AwsProvider,
  context: CallContext,
  { options, revokers }: { options: DenyOptions; revokers: Map<string, Session> },
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
  { options, context }: { options: DenyOptions; context: CallContext },
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
