import { createHash } from 'node:crypto';
import { GetScopedCredentialsCommand, STSClient } from '@aws-sdk/client-sts';
import { type CallContext, Fault, type Minted, type Minter, type MintPlan, Secret } from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { BaseSessions } from './base-sessions.ts';
import {
  awsCall,
  type Connections,
  clientOptions,
  createConnections,
  isThrottled,
  isUnknownAction,
} from './call.ts';
import { CallBudgets } from './call-budgets.ts';
import { Canary } from './canary.ts';
import { createDenyDocuments, type DenyDocuments } from './deny.ts';
import { inspectAws } from './inspect.ts';
import { type AwsBody, awsBody, baseSeconds, planAws, planBase } from './plan.ts';
import { type AwsProvider, parseAwsProvider, refuseMoved, splitRole, stsEndpoint } from './provider.ts';
import { assume, checkCredentials, lying, type Session } from './session.ts';

/** Ends on one role that are under way together become one document; as many as one document holds are not waited for. */
const endsPerCall = 20;
/** How long an endpoint is remembered not to know GetScopedCredentials. */
const withoutScopedMs = 300_000;

/**
 * AWS: a base session per (grant, generation), kept here, and for the agent a scoped session of seconds cut from it.
 * Where scoped sessions do not exist, a session of its own whose policy carries the absolute end.
 */
export function createAwsMinter(options: MinterServices): Minter {
  const bases = new BaseSessions();
  const budgets = new CallBudgets();
  const connections = createConnections();
  const canary = new Canary({ ...options, connections });
  const withoutScoped = new Map<string, number>();
  const denyDocuments = createDenyDocuments({
    ...options,
    connections,
    onWidened: (at, { step, ...cut }) => {
      if (step === 'issued-before' && 'issuedBefore' in cut) bases.drop(at, new Date(cut.issuedBefore));
    },
  });
  const providerOf = (plan: MintPlan): AwsProvider => {
    const provider = options.provider(plan.provider);
    if (provider === undefined)
      throw new Fault('provider_refused', { effect: 'none', detail: `provider ${plan.provider} is gone` });
    const parsed = parseAwsProvider(provider);
    refuseMoved(parsed, awsBody.parse(plan.body));
    return parsed;
  };
  const knowsScoped = (provider: AwsProvider, now: Date) =>
    (withoutScoped.get(stsEndpoint(provider)) ?? Number.NEGATIVE_INFINITY) < now.getTime() - withoutScopedMs;
  const baseFor = (plan: MintPlan) => {
    const { sourceIdentity, sts } = awsBody.parse(plan.body);
    const base = bases.find(atOf(plan), sourceIdentity, new Date(plan.notAfter));
    return base?.sts === sts ? base : undefined;
  };
  return {
    kind: 'aws',
    local: false,
    endsPerCall,
    plan: planAws,
    base: (plan, context) => {
      if (!knowsScoped(providerOf(plan), context.now)) return undefined;
      const live = baseFor(plan);
      return live === undefined ? planBase(plan, context) : undefined;
    },
    mint: async (plan, context) => {
      const provider = providerOf(plan);
      const body = awsBody.parse(plan.body);
      const { federation } = options;
      const within = <T>(call: () => Promise<T>) =>
        spend({ budgets, provider, body, now: context.now }, call);
      if (plan.purpose === 'base') {
        const session = await within(() =>
          assume(sessionOf(provider, body), { ...context, federation, connections }),
        );
        bases.keep(atOf(plan), { reach: body.sourceIdentity, session, now: context.now });
        canary.meet({ provider, role: body.role, reach: plan.reach, session });
        return { credential: new Secret(''), expiresAt: session.expiresAt, keyHash: keyHash(session) };
      }
      const base = baseFor(plan);
      const scoped =
        base === undefined
          ? undefined
          : await within(() => scopedOrUndefined(base, { provider, body, context, connections }));
      if (base !== undefined && scoped === undefined)
        withoutScoped.set(stsEndpoint(provider), context.now.getTime());
      const session =
        scoped ??
        (await within(() =>
          assume(sessionOf(provider, { ...body, durationSeconds: baseSeconds }), {
            ...context,
            federation,
            connections,
          }),
        ));
      return answer(session, plan);
    },
    revoke: (plan, context) => revoke(plan, context, denyDocuments),
    inspect: (provider, context) =>
      inspectAws(parseAwsProvider(provider), { ...options, connections }, context),
    watch: async (olderThanSeconds, { newId, ...context }) => {
      const seen = await Promise.allSettled([
        denyDocuments.watch(olderThanSeconds, context, newId),
        canary.look({ newId, ...context }),
      ]);
      for (const one of seen) if (one.status === 'rejected') throw one.reason;
    },
  };
}

function atOf({ provider, body }: MintPlan) {
  return { provider, role: awsBody.parse(body).role };
}

interface Spending {
  readonly budgets: CallBudgets;
  readonly provider: AwsProvider;
  readonly body: AwsBody;
  readonly now: Date;
}

/** One call of STS out of the account's budget. */
async function spend<T>({ budgets, provider, body, now }: Spending, call: () => Promise<T>): Promise<T> {
  const { region, callsPerSecond: perSecond } = provider;
  const of = { account: splitRole(body.role).account || provider.name, region, perSecond };
  budgets.take(of, now);
  try {
    return await call();
  } catch (error) {
    if (isThrottled(error)) budgets.throttled(of, now);
    throw error;
  }
}

interface ScopedCall {
  readonly provider: AwsProvider;
  readonly body: AwsBody;
  readonly context: CallContext;
  readonly connections: Connections;
}

/** The agent's session, or undefined where the endpoint does not know scoped sessions. */
async function scopedOrUndefined(
  base: Session,
  { provider, body, context, connections }: ScopedCall,
): Promise<Session | undefined> {
  const options = {
    ...clientOptions(stsEndpoint(provider), provider.region, connections),
    credentials: base.keys.reveal(),
  };
  const client = new STSClient(options);
  const command = new GetScopedCredentialsCommand({
    Policy: body.policy ?? undefined,
    DurationSeconds: body.durationSeconds,
    ScopedSessionDescription: body.description,
  });
  try {
    const { Credentials, SessionInfo, SourceIdentity } = await awsCall('GetScopedCredentials', () =>
      client.send(command, { abortSignal: context.signal }),
    );
    const { arn, sts } = base;
    if ((SessionInfo?.Arn ?? arn) !== arn || (SourceIdentity ?? body.sourceIdentity) !== body.sourceIdentity)
      throw lying('another identity than asked for');
    return checkCredentials(Credentials, {
      now: context.now,
      durationSeconds: body.durationSeconds,
      ...{ arn, sts },
    });
  } catch (error) {
    if (isUnknownAction(error)) return undefined;
    throw error;
  }
}

function sessionOf(provider: AwsProvider, body: AwsBody) {
  const { role, sessionName, sourceIdentity, policy, durationSeconds } = body;
  return { provider, purpose: 'mint' as const, role, sessionName, sourceIdentity, policy, durationSeconds };
}

/** credential_process form (AWS CLI user guide). The policy's absolute end counts where it is earlier than the session's. */
function answer(session: Session, plan: MintPlan): Minted {
  const { accessKeyId, secretAccessKey, sessionToken } = session.keys.reveal();
  const expiresAt = new Date(Math.min(session.expiresAt.getTime(), Date.parse(plan.notAfter)));
  const process = {
    Version: 1,
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    SessionToken: sessionToken,
    Expiration: expiresAt.toISOString().replace(/\.\d{3}Z$/, 'Z'),
  };
  return { credential: new Secret(JSON.stringify(process)), expiresAt, keyHash: keyHash(session) };
}

function keyHash({ keys }: Session): string {
  return createHash('sha256').update(keys.reveal().accessKeyId).digest('hex');
}

async function revoke(
  plan: MintPlan,
  context: CallContext,
  documents: DenyDocuments,
): Promise<'gone' | 'wait-for-expiry'> {
  if (plan.ends.by !== 'denied') return 'wait-for-expiry';
  const { sts, iam, role } = awsBody.parse(plan.body);
  const { provider, reach, taskId } = plan;
  await documents.deny({ provider, sts, iam, role, reach, taskId }, context);
  return 'gone';
}
