import { compilePattern, type End } from '@mayfly/core';
import type { IssuanceRow } from '@mayfly/testkit';
import type { Cloud, CloudCredential } from '../clouds.ts';
import { settings } from '../documents.ts';
import { type Evidence, whyEnded } from './evidence.ts';

/** Where nothing fails: a pass each second, a writer's lease held by another, a few backoffs. */
const promptSeconds = 45;

/** I1 to I6 and I15: the ledgers of the clouds against the tables. */
export class CredentialOracle {
  readonly #evidence: Evidence;

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  /** A request that mints has arrived at a cloud and made this. */
  onMinted({ issuanceId, reach, identifier, actions, expiresAt }: CloudCredential): void {
    const { rows } = this.#evidence;
    const issuance = rows.issuances.get(issuanceId);
    const plan = issuance?.plan;
    if (issuance?.decision !== 'allow' || plan == null) {
      this.#evidence.violated(`I1: ${issuanceId} was minted without a committed intent`);
      return;
    }
    if (plan.reach !== reach) this.#evidence.violated(`I3: ${issuanceId} was minted with the reach ${reach}`);
    if (!(expiresAt <= new Date(plan.notAfter)))
      this.#evidence.violated(`I6: ${issuanceId} lives until ${String(expiresAt)}, beyond its plan`);
    if (plan.purpose === 'base') return;
    const grant = rows.grants.get(plan.grantId)?.grant;
    const task = rows.tasks.get(plan.taskId)?.task;
    if (grant === undefined || task === undefined) {
      this.#evidence.violated(`I3: ${issuanceId} has no grant`);
      return;
    }
    const lifeMs = expiresAt.getTime() - rows.now().getTime();
    const skewMs = settings.skew * 1000;
    if (!(lifeMs <= grant.ttl.maxSeconds * 1000 + skewMs) || !(expiresAt <= task.expiresAt))
      this.#evidence.violated(`I6: ${issuanceId} lives too long for its grant`);
    for (let id: string | null = task.id; id !== null; id = rows.tasks.get(id)?.task.parentId ?? null) {
      const covered = rows
        .grantsOf(id)
        .some(
          ({ grant: { resource, actions: allowed } }) =>
            covers(resource, identifier) && actions.every((one) => allowed.some((action) => action === one)),
        );
      if (!covered) this.#evidence.violated(`I6: ${issuanceId} opens more than task ${id} may`);
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
      this.#evidence.violated(`I2: ${issuanceId} was answered without a committed outcome`);
    else if (this.#evidence.isCalm) this.#checkUsable(issuance);
  }

  /** Where nothing fails, what is answered opens what it should, unless something has ended it meanwhile. */
  #checkUsable({ record, plan, local }: IssuanceRow): void {
    const soon = this.#evidence.rows.inSeconds(settings.skew);
    if (local || plan === null || record.notAfter === null || record.notAfter <= soon) return;
    const opens = this.#credentialsOf(record.id).some((one) => this.#evidence.clouds[one.cloud].accepts(one));
    if (!opens && whyEnded(this.#evidence, record.grantId, plan) === null)
      this.#evidence.violated(`I4: ${record.id} was answered and opens nothing`);
  }

  /** I15: where nothing fails, no intent is reaped while its mint runs, unless something has ended it. */
  onNotDelivered(issuanceId: string): void {
    const { rows, isCalm } = this.#evidence;
    const { record, plan = null } = rows.issuances.get(issuanceId) ?? {};
    if (isCalm && record !== undefined && whyEnded(this.#evidence, record.grantId, plan) === null)
      this.#evidence.violated(`I15: ${issuanceId} was reaped while its mint ran`);
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
          this.#evidence.violated(`I4: ${issuanceId} has ended a second time`);
    };
  }

  #checkEnd(credential: CloudCredential, method: End['method']): void {
    const { rows, clouds } = this.#evidence;
    const cloud = clouds[credential.cloud];
    const over = credential.expiresAt <= rows.now();
    if (method === 'expired' && !over)
      this.#evidence.violated(`I4: ${credential.issuanceId} has not expired`);
    if (method === 'denied' && !cloud.hasTaken(credential) && !over && !cloud.isOverwritten)
      this.#evidence.violated(`I4: ${credential.issuanceId} is not denied`);
    if ((method === 'deleted' || method === 'never_minted') && !cloud.hasTaken(credential) && !over)
      this.#evidence.violated(`I4: ${credential.issuanceId} is not gone, though ${method}`);
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
    if (this.#evidence.isCalm) this.#checkPromptness();
  }

  /** I5: while the cloud answers, an end is confirmed soon. */
  #checkPromptness(): void {
    const { rows } = this.#evidence;
    const late = rows.inSeconds(-promptSeconds);
    for (const { id, state, requestedAt } of rows.work.values())
      if (state === 'revoking' && requestedAt !== null && requestedAt < late && !this.#onlyExpires(id))
        this.#evidence.violated(`I5: ${id} was to be taken back ${promptSeconds} s ago`);
  }

  #onlyExpires(issuanceId: string): boolean {
    return this.#evidence.rows.issuances.get(issuanceId)?.plan?.ends.by === 'expired';
  }

  /** I4: what should be gone is gone, over, or queued. */
  #checkCredential(cloud: Cloud, credential: CloudCredential): void {
    const { rows } = this.#evidence;
    const { issuanceId, expiresAt } = credential;
    if (expiresAt <= rows.now() || cloud.hasTaken(credential)) return;
    const work = rows.work.get(issuanceId);
    if (work === undefined) {
      if (!cloud.isOverwritten)
        this.#evidence.violated(`I4: ${issuanceId} lives and nothing is queued for it`);
      return;
    }
    const issuance = rows.issuances.get(issuanceId);
    const ended =
      issuance === undefined ? null : whyEnded(this.#evidence, issuance.record.grantId, issuance.plan);
    if (ended !== null && work.state !== 'revoking' && work.state !== 'reaped')
      this.#evidence.violated(`I4: ${issuanceId} is ${work.state} though ${ended}`);
  }

  /** I5: everything has been up for longer than any backoff: what was to be deleted before that is deleted. */
  onCalm(since: Date): void {
    const { rows, violated } = this.#evidence;
    for (const { id, state, requestedAt } of rows.work.values()) {
      const deletes = rows.issuances.get(id)?.plan?.ends.by === 'deleted';
      if (state === 'revoking' && deletes && requestedAt !== null && requestedAt < since)
        violated(`I5: ${id} is still to be deleted`);
    }
  }

  /** I5: everything has been up for a while, so whatever can be taken back has been. */
  onHealed(): void {
    const { rows, violated } = this.#evidence;
    for (const { id, state } of rows.work.values()) {
      if (state === 'revoking' && !this.#onlyExpires(id)) violated(`I5: ${id} is still to be taken back`);
      if (state === 'intended') violated(`I5: ${id} was never reaped`);
    }
  }

  /** Everything is over: nothing is left to do. */
  atEnd(): void {
    const { rows, violated } = this.#evidence;
    for (const { id, state } of rows.work.values()) violated(`I5: work ${id} is ${state} for ever`);
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
