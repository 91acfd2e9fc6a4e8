import { compilePattern, type End, type Intent, isClosed, type PolicySet } from '@mayfly/core';
import type { MemoryRows, TaskRow } from '@mayfly/testkit';
import type { Cloud, CloudCredential, CloudKind } from './clouds.ts';
import { settings } from './documents.ts';

type IntentObserved = Pick<Intent, 'record' | 'plan' | 'epoch' | 'use'>;

/** What the invariants of architecture.md section 6 are asked of. */
export interface Evidence {
  readonly rows: MemoryRows;
  readonly clouds: Readonly<Record<CloudKind, Cloud>>;
  policy(): PolicySet;
  /** Nothing fails in this run. */
  readonly isCalm: boolean;
}

/**
 * Looks at the tables and the ledgers of the clouds, never at what the broker says of itself. The first claim that does
 * not hold is kept; everything after it may be its consequence.
 */
export class Oracles {
  readonly #evidence: Evidence;
  readonly #intents: { readonly windowKey: string; readonly grantId: string; readonly agent: boolean }[] = [];
  readonly #opened = new Set<string>();
  readonly #keys = new Set<string>();
  readonly #denyRequests = new Map<number, number>();
  /** As they were at the step before. */
  readonly #tasks = new Map<string, TaskRow>();
  readonly #opens = new Map<string, number>();
  #problem: string | null = null;

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  get problem(): string | null {
    return this.#problem;
  }

  violated(claim: string): void {
    this.#problem ??= claim;
  }

  /** Just before a statement that may intend; the answer says whether it did. */
  beforeIntent({ record, plan, epoch, use }: IntentObserved): () => void {
    const { rows } = this.#evidence;
    const grant = rows.grants.get(record.grantId ?? '');
    const stopped = grant === undefined ? null : this.#whyNothing(grant.grant.taskId);
    const { frozen, epoch: current } = rows;
    const generation = grant?.generation ?? 1;
    const replayed = record.purpose === 'agent' && use.uses.some(({ digest }) => rows.replay.has(digest));
    const key = use.idempotencyKey?.digest;
    const allowed = record.purpose === 'base' || this.#isInForce(record);
    const denied = [...rows.denyEntries.values()].some(({ sourceIdentity }) => sourceIdentity === plan.reach);
    const now = rows.now();
    return () => {
      const id = record.id;
      if (stopped !== null) this.violated(`I4: ${id} was intended though ${stopped}`);
      if (frozen !== null) this.violated(`I13: ${id} was intended during a freeze`);
      if (epoch !== current) this.violated(`I13: ${id} was decided on policy ${epoch}, not ${current}`);
      if (plan.generation !== generation) this.violated(`I4: ${id} is of generation ${plan.generation}`);
      if (replayed) this.violated(`I7: ${id} was minted with what was used before`);
      if (!allowed) this.violated(`I13: ${id} was intended, but no template in force has its grant`);
      if (key !== undefined && this.#keys.has(key)) this.violated(`I7: ${id} repeats an idempotency key`);
      if (key !== undefined) this.#keys.add(key);
      if (denied) this.violated(`I4: ${id} reuses the denied reach ${plan.reach}`);
      this.#countIntent({ record, now });
    };
  }

  #isInForce({ template, grantName }: Intent['record']): boolean {
    const active = this.#evidence.policy().templates.get(template ?? '');
    return active?.mode === 'enforce' && active.grants.some(({ name }) => name === grantName);
  }

  /** Why a task gives nothing now: itself or one above is closed, suspended, over, or has lost its lease. */
  #whyNothing(taskId: string): string | null {
    const { rows } = this.#evidence;
    const now = rows.now();
    for (let id: string | null = taskId; id !== null; ) {
      const row = rows.tasks.get(id);
      if (row === undefined) return 'its task is not there';
      if (row.state !== 'open') return `task ${id} is ${row.state}`;
      if (row.task.expiresAt <= now) return `the time of task ${id} is over`;
      if (row.leaseUntil <= now) return `the lease of task ${id} is lost`;
      id = row.task.parentId;
    }
    return null;
  }

  #countIntent({ record, now }: { record: Intent['record']; now: Date }): void {
    const { rows } = this.#evidence;
    const { grantId = '', grantName, template, taskId } = record;
    const agent = record.purpose === 'agent';
    const minute = Math.floor(now.getTime() / 60_000);
    const countedAs = rows.tasks.get(taskId ?? '')?.countedAs;
    const windowKey = `${countedAs}|${template}|${grantName}|${minute}`;
    this.#intents.push({ windowKey, grantId: grantId ?? '', agent });
    if (!agent) return;
    const { budget } = rows.grants.get(grantId ?? '')?.grant ?? {};
    const active = this.#evidence.policy().templates.get(template ?? '');
    const spec = active?.grants.find(({ name }) => name === grantName);
    const used = this.#intents.filter((one) => one.agent && one.grantId === grantId).length;
    const perMinute = this.#intents.filter((one) => one.agent && one.windowKey === windowKey).length;
    const most = Math.min(budget?.exchanges ?? Infinity, spec?.budget.exchanges ?? Infinity);
    const mostPerMinute = Math.min(budget?.perMinute ?? Infinity, spec?.budget.perMinute ?? Infinity);
    if (used > most) this.violated(`I8: grant ${grantId} gave ${used} of ${most}`);
    if (perMinute > mostPerMinute) this.violated(`I8: ${perMinute} of ${mostPerMinute} in one minute`);
  }

  /** A request that mints has arrived at a cloud and made this. */
  onMinted({ issuanceId, reach, identifier, actions, expiresAt }: CloudCredential): void {
    const { rows } = this.#evidence;
    const issuance = rows.issuances.get(issuanceId);
    const plan = issuance?.plan;
    if (issuance?.decision !== 'allow' || plan == null) {
      this.violated(`I1: ${issuanceId} was minted without a committed intent`);
      return;
    }
    if (plan.reach !== reach) this.violated(`I3: ${issuanceId} was minted with the reach ${reach}`);
    if (!(expiresAt <= new Date(plan.notAfter)))
      this.violated(`I6: ${issuanceId} lives until ${String(expiresAt)}, beyond its plan`);
    if (plan.purpose === 'base') return;
    const grant = rows.grants.get(plan.grantId)?.grant;
    const task = rows.tasks.get(plan.taskId)?.task;
    if (grant === undefined || task === undefined) {
      this.violated(`I3: ${issuanceId} has no grant`);
      return;
    }
    const lifeMs = expiresAt.getTime() - rows.now().getTime();
    const skewMs = settings.skew * 1000;
    if (!(lifeMs <= grant.ttl.maxSeconds * 1000 + skewMs) || !(expiresAt <= task.expiresAt))
      this.violated(`I6: ${issuanceId} lives too long for its grant`);
    for (let id: string | null = task.id; id !== null; id = rows.tasks.get(id)?.task.parentId ?? null) {
      const covered = rows
        .grantsOf(id)
        .some(
          ({ grant: { resource, actions: allowed } }) =>
            covers(resource, identifier) && actions.every((one) => allowed.some((action) => action === one)),
        );
      if (!covered) this.violated(`I6: ${issuanceId} opens more than task ${id} may`);
    }
  }

  /** A credential leaves the broker. */
  onAnswered(issuanceId: string): void {
    const { rows } = this.#evidence;
    const issuance = rows.issuances.get(issuanceId);
    const told = rows.audit.some(
      (event) => event.issuanceId === issuanceId && event.type === 'exchange.delivered',
    );
    if (issuance === undefined || !told || !(issuance.local || rows.deliveries.has(issuanceId)))
      this.violated(`I2: ${issuanceId} was answered without a committed outcome`);
  }

  /** I15: where nothing fails, no intent is reaped while its mint runs, unless something has ended it. */
  onNotDelivered(issuanceId: string): void {
    const { rows, isCalm } = this.#evidence;
    const { record, plan = null } = rows.issuances.get(issuanceId) ?? {};
    if (isCalm && record !== undefined && this.#whyEnded(record.grantId, plan) === null)
      this.violated(`I15: ${issuanceId} was reaped while its mint ran`);
  }

  /** Ends are about to be recorded: what they say must be so, and one that is recorded is recorded once. */
  beforeSettled(ends: readonly End[]): () => void {
    const { rows } = this.#evidence;
    for (const { issuanceId, method } of ends)
      for (const credential of this.#credentialsOf(issuanceId)) this.#checkEnd(credential, method);
    const settled = ends.filter(({ issuanceId }) => !rows.work.has(issuanceId));
    const before = settled.map(({ issuanceId }) => rows.endsOf(issuanceId).length);
    return () => {
      for (const [index, { issuanceId }] of settled.entries())
        if (rows.endsOf(issuanceId).length !== before[index])
          this.violated(`I4: ${issuanceId} has ended a second time`);
    };
  }

  /** A deny document is acknowledged: somebody has read it where it is in force. */
  onAcknowledged(version: number): void {
    const { rows, clouds } = this.#evidence;
    // Without entries there is none to be read.
    if (rows.denyEntries.size > 0 && !clouds.denying.wasRead(version))
      this.violated(`I4: deny document ${version} was acknowledged and never read back`);
    for (const { sourceIdentity, acknowledgedAt } of rows.denyEntries.values())
      if (acknowledgedAt !== null && !clouds.denying.denies(sourceIdentity) && !clouds.denying.isOverwritten)
        this.violated(`I4: the denial of ${sourceIdentity} is acknowledged and not in force`);
  }

  onDenyRequested(version: number): void {
    this.#denyRequests.set(version, this.#evidence.rows.now().getTime());
  }

  /** A version lands for the first time: on top of a newer one only if its writer has lost the lease meanwhile. */
  onDenyLanded({ version, newest }: { readonly version: number; readonly newest: number }): void {
    const requestedMs = this.#denyRequests.get(version) ?? 0;
    const leaseMs = settings.denyWriterLease * 1000;
    if (version < newest && this.#evidence.rows.now().getTime() - requestedMs < leaseMs)
      this.violated(`I4: deny document ${version} was written beside ${newest}, by two at once`);
  }

  /** A call that shows this assertion has opened something, or given a token of it. */
  onOpened(digest: string): void {
    if (this.#opened.has(digest)) this.violated(`I7: ${digest} opened twice`);
    this.#opened.add(digest);
  }

  #checkEnd(credential: CloudCredential, method: End['method']): void {
    const { rows, clouds } = this.#evidence;
    const cloud = clouds[credential.cloud];
    const over = credential.expiresAt <= rows.now();
    if (method === 'expired' && !over) this.violated(`I4: ${credential.issuanceId} has not expired`);
    if (method === 'denied' && !cloud.hasTaken(credential) && !over && !cloud.isOverwritten)
      this.violated(`I4: ${credential.issuanceId} is not denied`);
    if ((method === 'deleted' || method === 'never_minted') && !cloud.hasTaken(credential) && !over)
      this.violated(`I4: ${credential.issuanceId} is not gone, though ${method}`);
  }

  #credentialsOf(issuanceId: string): readonly CloudCredential[] {
    return this.#credentials().filter((one) => one.issuanceId === issuanceId);
  }

  #credentials(): readonly CloudCredential[] {
    return Object.values(this.#evidence.clouds).flatMap(({ minted }) => minted);
  }

  /** After a step that changed something. */
  onStep(): void {
    for (const cloud of Object.values(this.#evidence.clouds))
      for (const credential of cloud.minted) this.#checkCredential(cloud, credential);
    this.#checkTasks();
  }

  /** I4: what should be gone is gone, over, or queued. */
  #checkCredential(cloud: Cloud, credential: CloudCredential): void {
    const { rows } = this.#evidence;
    const { issuanceId, expiresAt } = credential;
    if (expiresAt <= rows.now() || cloud.hasTaken(credential)) return;
    const work = rows.work.get(issuanceId);
    if (work === undefined) {
      if (!cloud.isOverwritten) this.violated(`I4: ${issuanceId} lives and nothing is queued for it`);
      return;
    }
    const issuance = rows.issuances.get(issuanceId);
    const ended = issuance === undefined ? null : this.#whyEnded(issuance.record.grantId, issuance.plan);
    if (ended !== null && work.state !== 'revoking' && work.state !== 'reaped')
      this.violated(`I4: ${issuanceId} is ${work.state} though ${ended}`);
  }

  #whyEnded(grantId: string | null, plan: { readonly generation: number } | null): string | null {
    const { rows } = this.#evidence;
    const grant = rows.grants.get(grantId ?? '');
    if (grant === undefined) return 'its grant is not there';
    if (plan !== null && grant.generation > plan.generation) return 'its generation is over';
    for (let id: string | null = grant.grant.taskId; id !== null; ) {
      const row = rows.tasks.get(id);
      if (row === undefined) return 'its task is not there';
      if (row.state !== 'open') return `task ${id} is ${row.state}`;
      id = row.task.parentId;
    }
    return null;
  }

  /** No task goes on beneath one that does not; nobody has more tasks than allowed (I8). */
  #checkTasks(): void {
    const { rows } = this.#evidence;
    const open = new Map<string, number>();
    const children = new Map<string, number>();
    for (const row of rows.tasks.values()) {
      this.#checkChange(row);
      const { task, state, countedAs, leaseUntil } = row;
      const above = task.parentId === null ? undefined : rows.tasks.get(task.parentId);
      if (above !== undefined && isClosed(above.state) && !isClosed(state))
        this.violated(`I4: task ${task.id} is ${state} beneath one that has ended`);
      // One whose lease is lost already gives nothing, and stays as it is until the reaper comes.
      if (above?.state === 'suspended' && state === 'open' && leaseUntil > rows.now())
        this.violated(`I4: task ${task.id} is open beneath a suspended one`);
      if (task.parentId !== null) children.set(task.parentId, (children.get(task.parentId) ?? 0) + 1);
      if (isClosed(state)) continue;
      open.set(`${countedAs} ${task.template}`, (open.get(`${countedAs} ${task.template}`) ?? 0) + 1);
    }
    const { task: limits } = this.#evidence.policy().templates.get('work') ?? {};
    for (const [key, count] of open)
      if (key.endsWith(' work') && count > (limits?.maxOpen ?? Infinity))
        this.violated(`I8: ${count} open tasks of one workload`);
    for (const [id, count] of children)
      if (count > (limits?.children?.max ?? Infinity)) this.violated(`I8: ${count} children of ${id}`);
  }

  /** A lost lease stays lost, what has ended stays ended, and nobody opens more in an hour than allowed. */
  #checkChange(row: TaskRow): void {
    const before = this.#tasks.get(row.task.id);
    if (before === row) return;
    this.#tasks.set(row.task.id, row);
    const { rows } = this.#evidence;
    const { id, template } = row.task;
    if (before === undefined) {
      const key = `${row.countedAs} ${template} ${Math.floor(rows.now().getTime() / 3_600_000)}`;
      const opens = (this.#opens.get(key) ?? 0) + 1;
      this.#opens.set(key, opens);
      const most = this.#evidence.policy().templates.get(template)?.task.opensPerHour ?? Infinity;
      if (opens > most) this.violated(`I8: ${opens} of ${most} tasks opened in one hour`);
      return;
    }
    const lapsed = before.state === 'open' && before.leaseUntil <= rows.now();
    if (lapsed && row.leaseUntil > before.leaseUntil)
      this.violated(`I4: the lost lease of task ${id} came back`);
    if (isClosed(before.state) && row.state !== before.state) this.violated(`I4: task ${id} has reopened`);
    if (row.state === 'abandoned' && !lapsed) this.violated(`I4: task ${id} was abandoned within its lease`);
  }

  /** I5: faults have ceased for longer than any backoff: what was to be deleted before that is deleted. */
  onCalm(sinceMs: number): void {
    const { rows } = this.#evidence;
    for (const { id, state, requestedAt } of rows.work.values()) {
      const by = rows.issuances.get(id)?.plan?.ends.by;
      const early = requestedAt !== null && requestedAt.getTime() < sinceMs;
      if (state === 'revoking' && by === 'deleted' && early)
        this.violated(`I5: ${id} is still to be deleted`);
    }
  }

  /** I5: faults have ceased for a while, so whatever can be taken back has been. */
  onHealed(): void {
    const { rows, clouds } = this.#evidence;
    if (clouds.denying.isOverwritten) this.violated('I5: an overwritten deny document was not written again');
    for (const { version, ackedVersion } of rows.denyDocuments.values())
      if (version !== ackedVersion) this.violated(`I5: deny document ${version} was never acknowledged`);
    for (const { id, state } of rows.work.values()) {
      const by = rows.issuances.get(id)?.plan?.ends.by;
      if (state === 'revoking' && by !== 'expired') this.violated(`I5: ${id} is still to be taken back`);
      if (state === 'intended') this.violated(`I5: ${id} was never reaped`);
    }
    for (const { task, state, leaseUntil } of rows.tasks.values())
      if (
        !isClosed(state) &&
        (task.expiresAt <= rows.now() || (state === 'open' && leaseUntil <= rows.now()))
      )
        this.violated(`I5: task ${task.id} is ${state} though its time is over`);
  }

  /** Everything is over: nothing is left to do, and each decision can be shown. */
  onQuiet(): void {
    const { rows } = this.#evidence;
    for (const { id, state } of rows.work.values()) this.violated(`I5: work ${id} is ${state} for ever`);
    const uses = new Map<string, number>();
    for (const { record, decision, local } of rows.issuances.values()) {
      if (decision !== 'allow') continue;
      const { id, inputDigest, templateVersion, assertionDigest, purpose } = record;
      if (inputDigest === '' || (purpose === 'agent' && templateVersion === null))
        this.violated(`I9: ${id} does not say what it was decided from`);
      if (!local && rows.endsOf(id).length === 0) this.violated(`I4: ${id} has no end`);
      if (assertionDigest !== null) uses.set(assertionDigest, (uses.get(assertionDigest) ?? 0) + 1);
    }
    for (const [digest, count] of uses) if (count > 1) this.violated(`I7: ${digest} minted ${count} times`);
  }
}

const compiled = new Map<string, (value: string) => boolean>();

function covers(resource: string, identifier: string): boolean {
  const known = compiled.get(resource);
  if (known !== undefined) return known(identifier);
  const pattern = compilePattern(resource);
  const matches = 'matches' in pattern ? (value: string) => pattern.matches(value) : () => false;
  compiled.set(resource, matches);
  return matches(identifier);
}
