import type { Reason } from '@mayfly/protocol';
import type { Caller } from './attest.ts';
import type { Allowed, Denied, Wanted } from './decide.ts';
import type { ExchangeRequest } from './exchange.ts';
import type { Found } from './find.ts';
import type { MintPlan } from './minter.ts';
import type { IssuanceRecord } from './ports.ts';
import type { Grant, Task } from './task.ts';
import type { PolicySet } from './template.ts';
import { workloadName } from './workload.ts';

/** What an exchange has learned so far: the material of its record, whether it ends in a credential or a refusal. */
export class Trail {
  readonly request: ExchangeRequest;
  readonly issuanceId: string;
  readonly #digest: (value: unknown) => string;
  caller: Caller | undefined;
  task: Task | undefined;
  grant: Grant | undefined;
  plan: MintPlan | undefined;
  /** The task whose ref was named with other parameters. */
  refTask: Task | undefined;
  #found: Found | undefined;
  #wanted: Wanted | undefined;
  #decision: Allowed | Denied | undefined;
  #policy: PolicySet | undefined;
  #now: Date | undefined;
  #intended = false;

  constructor(request: ExchangeRequest, issuanceId: string, digest: (value: unknown) => string) {
    this.request = request;
    this.issuanceId = issuanceId;
    this.#digest = digest;
  }

  /** A new round forgets what the last one found, but not who asked. */
  begin(policy: PolicySet, now: Date): void {
    this.#policy = policy;
    this.#now = now;
    this.task = undefined;
    this.grant = undefined;
    this.plan = undefined;
    this.refTask = undefined;
    this.#found = undefined;
    this.#wanted = undefined;
    this.#decision = undefined;
  }

  attested(caller: Caller): Caller {
    this.caller = caller;
    return caller;
  }

  found(found: Found): Found {
    this.#found = found;
    this.task = found.task;
    return found;
  }

  wants(wanted: Wanted): Wanted {
    this.#wanted = wanted;
    return wanted;
  }

  decided(decision: Allowed | Denied): Allowed | Denied {
    this.#decision = decision;
    if (decision.allowed) this.grant = decision.grant;
    return decision;
  }

  planned(plan: MintPlan): MintPlan {
    this.plan = plan;
    return plan;
  }

  intended(): void {
    this.#intended = true;
  }

  get hasIntent(): boolean {
    return this.#intended;
  }

  get epoch(): number | undefined {
    return this.#policy?.epoch;
  }

  get policy(): PolicySet {
    if (this.#policy === undefined) throw new TypeError('the exchange has not begun');
    return this.#policy;
  }

  get now(): Date {
    if (this.#now === undefined) throw new TypeError('the exchange has not begun');
    return this.#now;
  }

  get decision(): Allowed | Denied | undefined {
    return this.#decision;
  }

  /** The task exists only in this request so far; a refusal leaves none. */
  get openingUncommitted(): boolean {
    return this.#found?.opening != null;
  }

  /** The stored task that a refusal speaks of: else the one whose token was shown. */
  get concerned(): Task | undefined {
    const named = this.openingUncommitted ? undefined : this.task;
    return named ?? this.refTask ?? this.caller?.parent?.task;
  }

  /** Refused for what the stored task never had, rather than for what a newer version took from it. */
  get isOffItsPath(): boolean {
    const { decision } = this;
    if (decision === undefined) return true;
    return !this.openingUncommitted && !decision.allowed && decision.failed === 'grant-covers';
  }

  /** SHA-256 of everything the decision was made from, so that it can be shown again (invariant I9). */
  inputDigest(): string {
    const { caller, task } = this;
    const { detail, grantId, targets, scope = null, requestedTokenType } = this.request;
    return this.#digest({
      request: this.summary(),
      asked: { detail, grantId, targets, scope, requestedTokenType },
      identity: caller === undefined ? null : { ...caller.identity },
      actors: caller?.actors ?? [],
      confirmation: caller?.confirmation ?? null,
      task:
        task === undefined
          ? null
          : { id: task.id, params: task.params, expiresAt: task.expiresAt.toISOString() },
      state: this.#found?.status.state ?? null,
      wanted: this.#wanted ?? null,
      now: this.#now?.toISOString() ?? null,
    });
  }

  /** For the audit log: what was asked and what it came to. No secret, no token. */
  summary(): Readonly<Record<string, unknown>> {
    const { detail } = this.request;
    const named = typeof detail?.task === 'object' ? detail.task : undefined;
    return {
      requestId: this.request.requestId,
      tool: detail?.tool ?? this.#wanted?.tool ?? null,
      identifier: detail?.identifier ?? this.#wanted?.identifier ?? null,
      actions: this.plan?.actions ?? detail?.actions ?? null,
      template: this.task?.template ?? named?.template ?? null,
      templateVersion: this.task?.templateVersion ?? null,
      grant: this.grant?.name ?? null,
      provider: this.plan?.provider ?? null,
      onBehalfOf: this.caller === undefined || this.caller.actors.length === 0 ? null : this.caller.name,
      actors: this.caller?.actors.map(workloadName) ?? [],
      notAfter: this.plan?.notAfter ?? null,
      nativePermissions: this.plan?.nativePermissions ?? null,
      reach: this.plan?.reach ?? null,
      policyEpoch: this.epoch ?? null,
    };
  }
}

/** The row of this exchange, allowed or (with a reason) refused. Needs an attested caller. */
export function issuanceRecord(trail: Trail, reason: Reason | null = null): IssuanceRecord {
  const { caller, task, grant, plan, request, decision } = trail;
  const summary = trail.summary();
  const allowed = decision?.allowed ? decision : undefined;
  const stored = trail.openingUncommitted && reason !== null ? undefined : task;
  return {
    id: trail.issuanceId,
    purpose: 'agent',
    taskId: stored?.id ?? null,
    grantId: stored === undefined ? null : (grant?.id ?? null),
    grantName: grant?.name ?? null,
    template: text(summary['template']),
    templateVersion: task?.templateVersion ?? null,
    workload: {
      issuerName: caller?.identity.issuerName ?? '',
      subject: caller?.identity.subject ?? '',
    },
    actor: actorOf(caller),
    tool: text(summary['tool']),
    identifier: text(summary['identifier']),
    actions: plan?.actions ?? request.detail?.actions ?? [],
    provider: plan?.provider ?? grant?.provider ?? null,
    access: plan?.access ?? grant?.access ?? null,
    nativePermissions: plan?.nativePermissions ?? [],
    purposeText: request.detail?.purpose ?? null,
    ttlSeconds: allowed?.ttlSeconds ?? request.detail?.ttl ?? null,
    notAfter: plan === undefined ? null : new Date(plan.notAfter),
    worstCaseSeconds: plan === undefined ? null : worstCase(plan, allowed?.ttlSeconds ?? 0),
    reason,
    policyEpoch: trail.epoch ?? 0,
    inputDigest: trail.inputDigest(),
    assertionDigest: caller?.assertionDigest ?? null,
    requestId: request.requestId,
    explanation: explain(trail, reason),
  };
}

/** A base session has no caller of its own: the broker asked. */
export function baseRecord(
  base: MintPlan,
  { policyEpoch, inputDigest }: { policyEpoch: number; inputDigest: string },
): IssuanceRecord {
  return {
    id: base.issuanceId,
    purpose: 'base',
    taskId: base.taskId,
    grantId: base.grantId,
    grantName: null,
    template: null,
    templateVersion: null,
    workload: { issuerName: '', subject: 'mayfly' },
    actor: null,
    tool: null,
    identifier: base.identifier,
    actions: base.actions,
    provider: base.provider,
    access: base.access,
    nativePermissions: base.nativePermissions,
    purposeText: null,
    ttlSeconds: null,
    notAfter: new Date(base.notAfter),
    worstCaseSeconds: null,
    reason: null,
    policyEpoch,
    inputDigest,
    assertionDigest: null,
    requestId: null,
    explanation: { purpose: 'base session', reach: base.reach },
  };
}

// An allowed one keeps its plan: what stands there, and in columns, is not written a second time.
function explain(trail: Trail, reason: Reason | null): Readonly<Record<string, unknown>> {
  const { decision, task } = trail;
  const common = {
    decision: reason === null ? 'allow' : 'deny',
    reason,
    checks: decision?.checks ?? [],
    failed: decision !== undefined && !decision.allowed ? decision.failed : null,
    limitedBy: decision?.allowed ? decision.limitedBy : null,
    grantResource: trail.grant?.resource ?? null,
    owner: task === undefined ? null : (trail.policy.templates.get(task.template)?.owner ?? null),
  };
  if (reason === null) return common;
  const granted = task?.grants.map(({ name, tool, resource, actions }) => ({
    name,
    tool,
    resource,
    actions,
  }));
  return { ...common, request: trail.summary(), granted: granted ?? [] };
}

function worstCase({ ends }: MintPlan, lifeSeconds: number): number {
  const guaranteed = ends.by === 'expired' ? undefined : ends.guaranteedSeconds;
  return Math.min(lifeSeconds, guaranteed ?? lifeSeconds);
}

function actorOf(caller: Caller | undefined): IssuanceRecord['actor'] {
  const [actor] = caller?.actors ?? [];
  return actor === undefined ? null : { issuerName: actor.issuerName, subject: actor.subject };
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
