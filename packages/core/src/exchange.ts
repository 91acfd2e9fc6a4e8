import type { Action, IssuanceView, ToolCallDetail } from '@mayfly/protocol';
import { formatId } from '@mayfly/protocol';
import { attest, type Caller, type Credentials, callerName } from './attest.ts';
import { auditEvent } from './audit-event.ts';
import { ensureBase } from './base-session.ts';
import { type ClientAssertion, proveClient } from './client-assertion.ts';
import { type Allowed, type Denied, decide, type Wanted } from './decide.ts';
import { type DeviationAct, sightingOf } from './deviation.ts';
import { Fault, Refusal } from './errors.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import { type Found, findTask } from './find.ts';
import type { Minted, MintPlan } from './minter.ts';
import type { Delivery, IntendResult, Intent } from './ports.ts';
import { issuanceRecord, Trail } from './record.ts';
import type { Secret } from './secret.ts';
import { generationOf, type Task } from './task.ts';
import { deniedAs, refuseOtherTarget, wantedOf } from './wanted.ts';

/** One call of the token endpoint, parsed; nothing in it is proven yet. */
export interface ExchangeRequest extends Credentials {
  /** The descriptor; null when `grantId` names a stored grant (contract.md section 5). */
  readonly detail: ToolCallDetail | null;
  readonly grantId: string | null;
  readonly requestedTokenType: string | null;
  /** Each `resource` (RFC 8707) and each `audience` that names no grant: must be the identifier or the server's audience. */
  readonly targets: readonly string[];
  /** Verbs that `scope` narrows to; null or absent: it narrows nothing. */
  readonly scope?: readonly Action[] | null;
  /** Client authentication beside the subject (RFC 7523 section 2.2): must prove the same workload. */
  readonly client?: ClientAssertion | null;
  readonly idempotencyKey: string | null;
  readonly requestId: string;
}

export interface Delivered {
  readonly kind: 'delivered';
  readonly credential: Secret<string>;
  readonly issuedTokenType: string;
  readonly tokenType: string;
  readonly expiresInSeconds: number;
  readonly granted: Readonly<Record<string, unknown>>;
  readonly issuance: IssuanceView;
  /** Signed when this exchange opened the task. */
  readonly taskToken: Secret<string> | null;
}

export interface Refused {
  readonly kind: 'refused';
  readonly error: Refusal | Fault;
  /** Set once the caller is attested. */
  readonly issuanceId: string | null;
  /** What this refusal, with those before it, did to the task. */
  readonly deviated: DeviationAct | null;
}

/** A policy, ref or generation that moved under the decision is decided again this often, then refused as overloaded. */
const roundsMax = 4;

/**
 * The one way to a credential: attest, find, decide, plan, intend, mint, deliver. Every path that ends in a
 * credential calls this. A refusal is audited once, here; after `intend` every way to stop belongs to the reaper.
 */
export async function exchange(request: ExchangeRequest, ports: ExchangePorts): Promise<Delivered | Refused> {
  const trail = new Trail(request, ports.newId(), ports.digest);
  for (let round = 0; round < roundsMax; round += 1) {
    try {
      const delivered = await attempt(request, ports, trail, { fresh: round > 0 });
      if (delivered !== 'again') return delivered;
    } catch (error) {
      if (await mayHaveMoved(error, ports, trail, round)) continue;
      return refuse(error, ports, trail);
    }
  }
  return refuse(
    new Fault('overloaded', { effect: 'none', detail: 'policy or task kept moving' }),
    ports,
    trail,
  );
}

async function attempt(
  request: ExchangeRequest,
  ports: ExchangePorts,
  trail: Trail,
  { fresh }: { fresh: boolean },
): Promise<Delivered | 'again'> {
  if (!ports.clock.isTrusted()) throw new Fault('clock_off', { effect: 'none' });
  const now = ports.clock.now();
  const policy = await (fresh ? ports.policies.refresh() : ports.policies.current());
  trail.begin(policy, now);
  // 1 attest
  const caller = trail.attested(await attest(request, { policy, ports, now }));
  await proveClient(request.client ?? null, caller, { policy, ports, now });
  // 2 find
  const onRefConflict = (task: Task) => {
    trail.refTask = task;
  };
  const found = trail.found(await findTask(request, caller, { policy, ports, now, fresh, onRefConflict }));
  // 3 decide
  const wanted = trail.wants(wantedOf(request, found));
  const decision = trail.decided(decide({ ...caller, ...found, policy, wanted, now }));
  if (!decision.allowed) throw new Refusal(deniedAs(decision, request), { detail: decision.failed });
  // 4 plan, and prove it apart from the compiler
  const plan = planAndCheck({ request, caller, found, wanted, decision }, ports, trail);
  // 5 intend  6 mint  7 deliver
  const step = { request, caller, found, decision, plan, now };
  const issued = ports.minters.get(plan.kind)?.local
    ? await issueLocal(step, ports, trail)
    : await issueCloud(step, ports, trail);
  return issued === 'again' ? 'again' : answer(step, issued, ports);
}

interface Step {
  readonly request: ExchangeRequest;
  readonly caller: Caller;
  readonly found: Found;
  readonly decision: Allowed;
  readonly plan: MintPlan;
  readonly now: Date;
}

function planAndCheck(
  {
    request,
    caller,
    found,
    wanted,
    decision,
  }: {
    request: ExchangeRequest;
    caller: Caller;
    found: Found;
    wanted: Wanted;
    decision: Allowed;
  },
  ports: ExchangePorts,
  trail: Trail,
): MintPlan {
  const { grant, actions, notAfter, confirmation } = decision;
  const holder = { actors: caller.actors, confirmation };
  const provider = trail.policy.providers.get(grant.provider);
  const minter = provider && ports.minters.get(provider.type);
  if (provider === undefined || minter === undefined)
    throw new Refusal('tool_not_granted', { detail: `provider ${grant.provider} is not active` });
  const serverName = grant.mint['server'];
  const server = (typeof serverName === 'string' && trail.policy.servers.get(serverName)) || null;
  const plan = minter.plan({
    issuanceId: trail.issuanceId,
    taskId: found.task.id,
    grantId: grant.id,
    generation: generationOf(found.status, grant.id),
    workload: caller.name,
    holder,
    tool: grant.tool,
    identifier: wanted.identifier,
    actions,
    access: grant.access,
    mint: grant.mint,
    provider,
    server,
    now: trail.now,
    notAfter,
    argsDigest: request.detail?.args_digest ?? null,
  });
  refuseOtherTarget(request, plan, server?.audience ?? null);
  const identifier = wanted.identifier;
  const { resource, tool, access, mint, id: grantId } = grant;
  const problem = ports.check(plan, {
    resource,
    actions,
    identifier,
    notAfter,
    provider,
    server,
    taskId: found.task.id,
    grantId,
    tool,
    access,
    workload: caller.name,
    holder,
    mint,
    argsDigest: request.detail?.args_digest ?? null,
  });
  if (problem !== null) throw new Fault('plan_check_failed', { effect: 'none', detail: problem });
  return trail.planned(plan);
}

/** Signed in memory: nothing has left the process before the one commit, so intend and deliver are one statement. */
async function issueLocal(step: Step, ports: ExchangePorts, trail: Trail): Promise<Minted | 'again'> {
  const minted = await mint(step.plan, ports);
  const delivery = deliveryOf(step, minted, ports);
  return settle(await ports.ledger.issueLocal(intentOf(step, ports, trail), delivery), () => {
    trail.intended();
    return minted;
  });
}

async function issueCloud(step: Step, ports: ExchangePorts, trail: Trail): Promise<Minted | 'again'> {
  const intended = settle(await ports.ledger.intend(intentOf(step, ports, trail)), () => 'intended' as const);
  if (intended === 'again') return 'again';
  trail.intended();
  const signal = ports.deadline();
  await ensureBase(step.plan, { ports, signal, policy: trail.policy });
  const minted = await mint(step.plan, ports, signal);
  // Conditional on `intended` and the reap deadline: no row changed means that the reaper owns it.
  if (!(await ports.ledger.deliver(deliveryOf(step, minted, ports))))
    throw new Fault('not_delivered', { effect: 'unknown', detail: 'the intent was reaped before delivery' });
  return minted;
}

async function mint(plan: MintPlan, ports: ExchangePorts, signal = ports.deadline()): Promise<Minted> {
  const minter = ports.minters.get(plan.kind);
  if (minter === undefined || signal.aborted)
    throw new Fault('provider_unavailable', { effect: 'none', detail: 'the mint deadline has passed' });
  return minter.mint(plan, { now: ports.clock.now(), signal });
}

function settle<T>(result: IntendResult, intended: () => T): T | 'again' {
  switch (result.kind) {
    case 'intended':
      return intended();
    case 'stale':
    case 'ref_taken':
      return 'again';
    case 'already_issued':
      throw new Refusal('already_issued', { detail: formatId('isn', result.issuanceId) });
    case 'refused': {
      const { reason, retryAfterSeconds } = result;
      throw new Refusal(reason, retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
    }
    default:
      return result satisfies never;
  }
}

function intentOf(
  { request, caller, found, decision, plan, now }: Step,
  ports: ExchangePorts,
  trail: Trail,
): Intent {
  const record = issuanceRecord(trail);
  const key = request.idempotencyKey;
  return {
    record,
    plan,
    epoch: trail.policy.epoch,
    generation: plan.generation,
    use: {
      uses: caller.uses,
      attested: caller.attested,
      idempotencyKey: key === null ? null : { digest: ports.digest(['token', found.task.owner, key]) },
    },
    opening: found.opening,
    budget: decision.budget,
    above: decision.grant.above,
    audit: auditEvent(
      { newId: ports.newId, now },
      {
        type: 'exchange.intended',
        actor: callerName(caller),
        taskId: found.task.id,
        issuanceId: plan.issuanceId,
        body: trail.summary(),
      },
    ),
  };
}

function deliveryOf({ caller, found, plan }: Step, minted: Minted, ports: ExchangePorts): Delivery {
  const body = { expiresAt: minted.expiresAt.toISOString(), keyHash: minted.keyHash };
  const context = { newId: ports.newId, now: ports.clock.now() };
  const event = {
    type: 'exchange.delivered',
    actor: callerName(caller),
    taskId: found.task.id,
    issuanceId: plan.issuanceId,
    body,
  };
  return {
    issuanceId: plan.issuanceId,
    keyHash: minted.keyHash,
    expiresAt: minted.expiresAt,
    audit: auditEvent(context, event),
  };
}

async function answer(
  { found, decision, plan }: Step,
  minted: Minted,
  ports: ExchangePorts,
): Promise<Delivered> {
  const { task } = found;
  const taskId = formatId('tsk', task.id);
  // As of the answer: a mint may have taken seconds, and a caller that believes in more would use a dead credential.
  const lifeMs = minted.expiresAt.getTime() - ports.clock.now().getTime();
  const lifeSeconds = Math.max(0, Math.floor(lifeMs / 1000));
  const { ends } = plan;
  const guaranteed = ends.by === 'expired' ? undefined : ends.guaranteedSeconds;
  const typical = ends.by === 'expired' ? undefined : ends.typicalSeconds;
  return {
    kind: 'delivered',
    credential: minted.credential,
    issuedTokenType: plan.issuedTokenType,
    tokenType: plan.tokenType,
    expiresInSeconds: lifeSeconds,
    granted: {
      type: 'mayfly_tool_call',
      task: taskId,
      tool: decision.grant.tool,
      identifier: plan.identifier,
      actions: plan.actions,
      ttl: decision.ttlSeconds,
    },
    issuance: {
      id: formatId('isn', plan.issuanceId),
      task: taskId,
      grant: formatId('grt', plan.grantId),
      expires_at: minted.expiresAt.toISOString(),
      limited_by: decision.limitedBy,
      ends: {
        by: ends.by,
        worst_case_seconds: Math.min(lifeSeconds, guaranteed ?? lifeSeconds),
        ...(typical === undefined ? {} : { typical_seconds: typical }),
      },
      enforcement: plan.enforcement,
    },
    taskToken: found.opening === null ? null : await ports.taskTokens.sign(task),
  };
}

// A refusal is answered only as of now: when the policy or a suspended task has moved, it is decided again.
async function mayHaveMoved(
  error: unknown,
  ports: ExchangePorts,
  trail: Trail,
  round: number,
): Promise<boolean> {
  if (!(error instanceof Refusal) || trail.hasIntent || round >= roundsMax - 1) return false;
  if (trail.epoch === undefined || error.reason === 'already_issued') return false;
  if (round === 0 && error.reason === 'task_suspended') return true;
  try {
    return (await ports.policies.refresh()).epoch !== trail.epoch;
  } catch {
    return false; // The refusal stands: errors deny.
  }
}

/** The one place where a refusal is recorded. With an intent committed, the intent is the record and the reaper its owner. */
async function refuse(thrown: unknown, ports: ExchangePorts, trail: Trail): Promise<Refused> {
  const error =
    thrown instanceof Refusal || thrown instanceof Fault
      ? thrown
      : new Fault('internal', { effect: 'unknown', cause: thrown });
  const issuanceId = trail.caller === undefined ? null : trail.issuanceId;
  const deviated = trail.hasIntent ? null : await recordRefusal(error, ports, trail);
  return { kind: 'refused', error, issuanceId, deviated };
}

async function recordRefusal(
  error: Refusal | Fault,
  ports: ExchangePorts,
  trail: Trail,
): Promise<DeviationAct | null> {
  const { caller } = trail;
  const body = { ...trail.summary(), reason: error.reason, detail: error.detail ?? null };
  const event = auditEvent(
    { newId: ports.newId, now: ports.clock.now() },
    {
      type: 'exchange.refused',
      actor: caller === undefined ? null : callerName(caller),
      taskId: trail.openingUncommitted ? null : (trail.task?.id ?? null),
      issuanceId: caller === undefined ? null : trail.issuanceId,
      body,
    },
  );
  try {
    if (caller === undefined) await ports.unattested.append(event);
    else {
      const sighting = await sightingOf(error, trail, ports);
      return await ports.ledger.refuse(issuanceRecord(trail, error.reason), { audit: event, sighting });
    }
  } catch (cause) {
    ports.report('a refusal could not be recorded', { reason: error.reason, cause });
  }
  return null;
}

export type { Denied };
