import type { Intent } from '@mayfly/core';
import { type Evidence, whyNothing } from './evidence.ts';

/** I7, I8, I13, and of I4 that nothing is given that has ended: looked at as a statement of `intend` takes effect. */
export class IntentOracle {
  readonly #evidence: Evidence;
  readonly #counted: { readonly windowKey: string; readonly grantId: string }[] = [];
  readonly #opened = new Set<string>();
  readonly #keys = new Set<string>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  /** Just before the statement; the answer says afterwards whether it did. */
  before({ record, plan, epoch, use, opening }: Intent): (intended: boolean) => void {
    const { rows, violated } = this.#evidence;
    const { id } = record;
    const grant = rows.grants.get(record.grantId ?? '');
    const stopped = grant === undefined ? null : whyNothing(this.#evidence, grant.grant.taskId);
    const { epoch: current } = rows;
    const named = {
      template: record.template,
      issuer: record.workload.issuerName,
      provider: record.provider,
    };
    const frozen = rows.freezes.some(({ scope, name }) => scope === 'all' || named[scope] === name);
    const generation = grant?.generation ?? 1;
    const replayed = record.purpose === 'agent' && use.uses.some(({ digest }) => rows.replay.has(digest));
    const key = use.idempotencyKey?.digest;
    const inForce = record.purpose === 'base' || this.#isInForce(record);
    const denied = [...rows.denyEntries.values()].some(({ sourceIdentity }) => sourceIdentity === plan.reach);
    const wasThere = opening !== null && rows.tasks.has(opening.task.id);
    const [now, used] = [rows.now(), rows.replay.size];
    return (intended) => {
      if (!intended) {
        if (opening !== null && !wasThere && rows.tasks.has(opening.task.id))
          violated(`I13: ${id} was refused and left a task`);
        if (rows.replay.size !== used) violated(`I7: ${id} was refused and used something up`);
        return;
      }
      if (stopped !== null) violated(`I4: ${id} was intended though ${stopped}`);
      if (frozen) violated(`I13: ${id} was intended during a freeze`);
      if (epoch !== current) violated(`I13: ${id} was decided on policy ${epoch}, not ${current}`);
      if (plan.generation !== generation) violated(`I4: ${id} is of generation ${plan.generation}`);
      if (replayed) violated(`I7: ${id} was minted with what was used before`);
      if (!inForce) violated(`I13: ${id} was intended, but no policy in force gives it`);
      if (key !== undefined && this.#keys.has(key)) violated(`I7: ${id} repeats an idempotency key`);
      if (key !== undefined) this.#keys.add(key);
      if (denied) violated(`I4: ${id} reuses the denied reach ${plan.reach}`);
      if (record.purpose === 'agent') this.#count(record, now);
    };
  }

  #isInForce({ template, grantName }: Intent['record']): boolean {
    const { templates, issuers } = this.#evidence.policy();
    const active = templates.get(template ?? '');
    return (
      issuers.size > 0 && active?.mode === 'enforce' && active.grants.some(({ name }) => name === grantName)
    );
  }

  #count({ grantId, grantName, template, taskId }: Intent['record'], now: Date): void {
    const { rows, violated } = this.#evidence;
    const minute = Math.floor(now.getTime() / 60_000);
    const countedAs = rows.tasks.get(taskId ?? '')?.countedAs;
    const windowKey = `${countedAs}|${template}|${grantName}|${minute}`;
    this.#counted.push({ windowKey, grantId: grantId ?? '' });
    const { budget } = rows.grants.get(grantId ?? '')?.grant ?? {};
    const active = this.#evidence.policy().templates.get(template ?? '');
    const spec = active?.grants.find(({ name }) => name === grantName);
    const used = this.#counted.filter((one) => one.grantId === grantId).length;
    const inMinute = this.#counted.filter((one) => one.windowKey === windowKey).length;
    const most = Math.min(budget?.exchanges ?? Infinity, spec?.budget.exchanges ?? Infinity);
    const mostInMinute = Math.min(budget?.perMinute ?? Infinity, spec?.budget.perMinute ?? Infinity);
    if (used > most) violated(`I8: grant ${grantId} gave ${used} of ${most}`);
    if (inMinute > mostInMinute) violated(`I8: ${inMinute} of ${mostInMinute} in one minute`);
    this.#countAbove(rows.tasks.get(taskId ?? '')?.task.parentId ?? null, grantName ?? '');
  }

  // By tasks and names, as the documents here are made: not by what the product says of its grants.
  #countAbove(parentId: string | null, name: string): void {
    const { rows, violated } = this.#evidence;
    const parent = rows.tasks.get(parentId ?? '')?.task;
    const above = parent?.grants.find((grant) => grant.name === name);
    if (parent === undefined || above === undefined) return;
    const isWithin = (grantId: string) => {
      const { id, taskId } = rows.grants.get(grantId)?.grant ?? {};
      return (
        id === above.id ||
        (rows.tasks.get(taskId ?? '')?.task.parentId === parentId && nameOf(grantId) === name)
      );
    };
    const nameOf = (grantId: string) => rows.grants.get(grantId)?.grant.name;
    const used = this.#counted.filter(({ grantId }) => isWithin(grantId)).length;
    const most = above.budget.exchanges ?? Infinity;
    if (used > most) violated(`I8: grant ${above.id} and those beneath gave ${used} of ${most}`);
  }

  /** A call that shows this assertion has opened something, or given a token of it. */
  onOpened(digest: string): void {
    if (this.#opened.has(digest)) this.#evidence.violated(`I7: ${digest} opened twice`);
    this.#opened.add(digest);
  }

  /** Everything is over: each decision can be shown, and each assertion has minted once. */
  atEnd(): void {
    const { rows, violated } = this.#evidence;
    const uses = new Map<string, number>();
    for (const { record, decision, local } of rows.issuances.values()) {
      if (decision !== 'allow') continue;
      const { id, inputDigest, templateVersion, assertionDigest, purpose } = record;
      if (inputDigest === '' || (purpose === 'agent' && templateVersion === null))
        violated(`I9: ${id} does not say what it was decided from`);
      if (!local && rows.endsOf(id).length === 0) violated(`I4: ${id} has no end`);
      if (assertionDigest !== null) uses.set(assertionDigest, (uses.get(assertionDigest) ?? 0) + 1);
    }
    for (const [digest, count] of uses) if (count > 1) violated(`I7: ${digest} minted ${count} times`);
  }
}
