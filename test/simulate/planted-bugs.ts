import type { Patch } from './graph.ts';

export interface PlantedBug extends Patch {
  readonly name: string;
  /** The claim that it must be found by: how a problem begins. */
  readonly breaks: string;
}

const core = 'packages/core/src';
const memory = 'packages/testkit/src/memory';
const aws = 'packages/minters/src/aws';

/**
 * One line of the product each, made wrong in a way that somebody could write. What PostgreSQL's functions do is patched
 * in the memory store, which is held to the same contract (store-contract.ts).
 */
export const plantedBugs: readonly PlantedBug[] = [
  {
    name: 'mint-before-intent',
    breaks: 'I1',
    file: `${core}/exchange.ts`,
    line: "const intended = settle(await ports.ledger.intend(intentOf(step, ports, trail)), () => 'intended' as const);",
    becomes:
      "await mint(step.plan, ports); const intended = settle(await ports.ledger.intend(intentOf(step, ports, trail)), () => 'intended' as const);",
  },
  {
    name: 'answered-though-reaped',
    breaks: 'I2',
    file: `${core}/exchange.ts`,
    line: 'if (!(await ports.ledger.deliver(deliveryOf(step, minted, ports))))',
    becomes: 'if ((await ports.ledger.deliver(deliveryOf(step, minted, ports))) === null)',
  },
  {
    name: 'base-session-without-intent',
    breaks: 'I1',
    file: `${core}/base-session.ts`,
    line: 'const flight = ports.baseFlights.get(flightKey) ?? start(flightKey, base, minter, context);',
    becomes: 'const flight = minter.mint(base, { now, signal: context.signal });',
  },
  {
    name: 'ttl-nan',
    breaks: 'I13: internal',
    file: `${core}/decide.ts`,
    line: 'const ttlSeconds = Math.min(asked, maxSeconds);',
    becomes:
      'const ttlSeconds = Math.min(wanted.ttlSeconds === null ? asked : Number(`${asked}s`), maxSeconds);',
  },
  {
    name: 'disabled-template-mints',
    breaks: 'I13',
    file: `${core}/cover.ts`,
    line: "return active?.mode === 'enforce' ? active : undefined;",
    becomes: 'return active;',
  },
  {
    name: 'reopened-without-using-the-assertion',
    breaks: 'I7',
    file: `${core}/lifecycle.ts`,
    line: 'const used = use.uses.length === 0 ? null : await tasks.use(use.uses);',
    becomes: 'const used = use.uses.length >= 0 ? null : await tasks.use(use.uses);',
  },
  {
    name: 'absent-is-success-at-once',
    breaks: 'I4',
    file: `${core}/reap.ts`,
    line: "return state === 'revoking' && attempts >= 2 ? ended(work, 'deleted', ports) : 'waiting';",
    becomes: "return ended(work, state === 'revoking' ? 'deleted' : 'never_minted', ports);",
  },
  {
    // As it was, and found by this simulator.
    name: 'absent-is-final-at-a-second-look',
    breaks: 'I4',
    file: `${core}/reap.ts`,
    line: "return state === 'revoking' && attempts >= 2 ? ended(work, 'deleted', ports) : 'waiting';",
    becomes:
      "return attempts < 2 ? wait(work, ports) : ended(work, state === 'revoking' ? 'deleted' : 'never_minted', ports);",
  },
  {
    // As it was, and found by this simulator.
    name: 'write-in-doubt-never-acknowledged',
    breaks: 'I5: deny document',
    file: `${aws}/deny.ts`,
    line: 'else if (intact) await options.deny.acknowledge(at, version, due.widened);',
    becomes: 'else if (intact) await options.deny.observed(at, { intact, audit: null });',
  },
  {
    name: 'absent-is-failure',
    breaks: 'I5',
    file: `${core}/reap.ts`,
    line: 'return whenAbsent(work, ports);',
    becomes: "throw new Fault('provider_refused', { effect: 'none', detail: 'not found' });",
  },
  {
    name: 'expired-before-its-time',
    breaks: 'I4',
    file: `${core}/reap.ts`,
    line: 'if (secondsPastNotAfter > ports.skewSeconds) return expired(work, ports);',
    becomes: 'if (secondsPastNotAfter > -ports.skewSeconds) return expired(work, ports);',
  },
  {
    name: 'lapsed-task-not-ended',
    breaks: 'I5: task',
    file: `${core}/reap.ts`,
    line: "await endTask(taskId, { state: due, reason, actor: 'mayfly' }, ports);",
    becomes: "if (due === 'expired') await endTask(taskId, { state: due, reason, actor: 'mayfly' }, ports);",
  },
  {
    name: 'reap-age-too-small',
    breaks: 'I15',
    file: `${memory}/ledger.ts`,
    line: 'dueAt: rows.inSeconds(options.reapAgeSeconds),',
    becomes: 'dueAt: rows.inSeconds(1),',
  },
  {
    name: 'deliver-not-conditional',
    breaks: 'I4',
    file: `${memory}/ledger.ts`,
    line: "if (work?.state !== 'intended' || work.dueAt <= rows.now() || work.notAfter === null) return false;",
    becomes: 'if (work === undefined || work.notAfter === null) return false;',
  },
  {
    name: 'intend-without-the-epoch',
    breaks: 'I13',
    file: `${memory}/ledger.ts`,
    line: 'if (rows.epoch !== intent.epoch || generation !== intent.generation)',
    becomes: 'if (generation !== intent.generation)',
  },
  {
    name: 'intend-without-the-generation',
    breaks: 'I4',
    file: `${memory}/ledger.ts`,
    line: 'if (rows.epoch !== intent.epoch || generation !== intent.generation)',
    becomes: 'if (rows.epoch !== intent.epoch)',
  },
  {
    name: 'budget-counted-after',
    breaks: 'I8: grant',
    file: `${memory}/ledger.ts`,
    line: 'for (const one of [row, ...above]) rows.grants.set(one.grant.id, { ...one, uses: one.uses + 1 });',
    becomes:
      'setTimeout(() => { const now = rows.grants.get(grant.id); if (now) rows.grants.set(grant.id, { ...now, uses: now.uses + 1 }); }, 100);',
  },
  {
    name: 'budget-above-not-spent',
    breaks: 'I8: grant',
    file: `${memory}/ledger.ts`,
    line: 'for (const one of [row, ...above]) rows.grants.set(one.grant.id, { ...one, uses: one.uses + 1 });',
    becomes: 'rows.grants.set(grant.id, { ...row, uses: uses + 1 });',
  },
  {
    name: 'child-remembers-no-grant-above',
    breaks: 'I8: grant',
    file: `${core}/attenuate.ts`,
    line: 'return outer === undefined ? [] : [{ ...grant, above: [...outer.above, outer.id] }];',
    becomes: 'return outer === undefined ? [] : [grant];',
  },
  {
    name: 'repeated-key-mints-again',
    breaks: 'I7',
    file: `${memory}/ledger.ts`,
    line: 'if (earlier !== undefined && earlier.expiresAt > rows.now())',
    becomes: 'if (earlier !== undefined && earlier.expiresAt < rows.now())',
  },
  {
    name: 'quota-race',
    breaks: 'I8',
    file: `${memory}/open.ts`,
    line: 'const live = same.filter((row) => row.countedAs === countedAs && !isClosed(row.state)).length;',
    becomes:
      'const live = same.filter((row) => row.countedAs === countedAs && !isClosed(row.state) && row.task.openedAt < rows.inSeconds(-1)).length;',
  },
  {
    name: 'replay-not-seen',
    breaks: 'I7',
    file: `${memory}/open.ts`,
    line: 'if (rows.replay.has(digest)) {',
    becomes: 'if (rows.replay.has(digest) && taken.length > 0) {',
  },
  {
    name: 'lost-lease-comes-back',
    breaks: 'I4',
    file: `${memory}/open.ts`,
    line: "if (row?.state !== 'open' || row.leaseUntil <= rows.now()) return;",
    becomes: "if (row?.state !== 'open') return;",
  },
  {
    name: 'lost-cascade',
    breaks: 'I4',
    file: `${memory}/tasks.ts`,
    line: 'return [id, ...children.flatMap(({ task }) => treeOf(rows, task.id))];',
    becomes:
      'return children.length > 9 ? [id, ...children.flatMap(({ task }) => treeOf(rows, task.id))] : [id];',
  },
  {
    name: 'end-misses-intended',
    breaks: 'I4',
    file: `${memory}/tasks.ts`,
    line: "if (work.taskId !== taskId || (work.state !== 'intended' && work.state !== 'delivered')) continue;",
    becomes: "if (work.taskId !== taskId || work.state !== 'delivered') continue;",
  },
  {
    name: 'resume-without-new-generation',
    breaks: 'I4',
    file: `${memory}/tasks.ts`,
    line: "rows.grants.set(grant.grant.id, { ...grant, state: 'active', generation: grant.generation + 1 });",
    becomes: "rows.grants.set(grant.grant.id, { ...grant, state: 'active' });",
  },
  {
    name: 'revoke-without-new-generation',
    breaks: 'I(4|15)',
    file: `${memory}/revoke.ts`,
    line: 'rows.grants.set(grant.grant.id, { ...grant, generation: grant.generation + 1 });',
    becomes: '',
  },
  {
    name: 'settle-without-looking-again',
    breaks: 'I4',
    file: `${memory}/work-queue.ts`,
    line: 'if (work === undefined) continue;',
    becomes:
      'if (work === undefined) { rows.ends.set(issuanceId, [...rows.endsOf(issuanceId), { issuanceId, at: rows.now(), method, requestedAt: null, evidence }]); continue; }',
  },
  {
    name: 'life-is-nan',
    breaks: 'I5',
    file: `${memory}/work-queue.ts`,
    line: 'const secondsPastNotAfter = (rows.now().getTime() - row.notAfter.getTime()) / 1000;',
    becomes: 'const secondsPastNotAfter = rows.now().getTime() - Number(`${row.notAfter.getTime()}ms`);',
  },
  {
    name: 'document-from-a-stale-read',
    breaks: 'I4',
    file: `${aws}/deny.ts`,
    line: 'const document = await options.deny.request(at, entries, writerLeaseSeconds);',
    becomes:
      'const asked = await options.deny.request(at, entries, writerLeaseSeconds); const document = asked && { ...asked, entries: entries.map((one) => one.sourceIdentity).sort() };',
  },
  {
    name: 'document-not-read-back',
    breaks: 'I4: deny document',
    file: `${aws}/deny.ts`,
    line: 'const seen = await readDenyPolicy(client, { provider: provider.name, role }, context.signal).catch(',
    becomes: 'const seen = await Promise.resolve(wanted(document, widened)).catch(',
  },
  {
    name: 'overwritten-document-stays',
    breaks: 'I5',
    file: `${aws}/deny.ts`,
    line: 'if (intact && !shrinks) return;',
    becomes: 'if (!shrinks) return;',
  },
  {
    name: 'missing-fence',
    breaks: 'I4',
    file: `${memory}/deny-store.ts`,
    line: 'if (row?.version !== version) return false;',
    becomes: 'if (row === undefined) return false;',
  },
  {
    name: 'two-writers-at-once',
    breaks: 'I4: deny document',
    file: `${memory}/deny-store.ts`,
    line: 'if (row.writerUntil !== null && row.writerUntil > rows.now()) return null;',
    becomes: '',
  },
  {
    name: 'one-use-forgotten',
    breaks: 'I7',
    file: `${core}/attest.ts`,
    line: "if (replay !== 'once') return [];",
    becomes: 'if (replay) return [];',
  },
  {
    name: 'reaped-is-cut',
    breaks: 'I4',
    file: `${core}/reap.ts`,
    line: "if (work.state === 'reaped' && plan.ends.by !== 'deleted') return wait(work, ports);",
    becomes: '',
  },
  {
    name: 'waits-in-the-wrong-unit',
    breaks: 'I5: work',
    file: `${core}/reap.ts`,
    line: 'const seconds = Math.max(1, Math.ceil(ports.skewSeconds - secondsPastNotAfter) + 1);',
    becomes: 'const seconds = 1000 * Math.max(1, Math.ceil(ports.skewSeconds - secondsPastNotAfter) + 1);',
  },
  {
    name: 'refusal-leaves-the-task',
    breaks: 'I13',
    file: `${memory}/ledger.ts`,
    line: "if (result.kind !== 'intended') throw new Undone(result);",
    becomes: '',
  },
  {
    name: 'minute-not-counted',
    breaks: 'I8',
    file: `${memory}/ledger.ts`,
    line: 'for (const { counter } of minutes) counter.raise();',
    becomes: '',
  },
  {
    name: 'hour-not-counted',
    breaks: 'I8',
    file: `${memory}/open.ts`,
    line: 'hour.raise();',
    becomes: '',
  },
  {
    name: 'one-child-too-many',
    breaks: 'I8',
    file: `${memory}/open.ts`,
    line: "return children.length >= max ? 'child_not_allowed' : null;",
    becomes: "return children.length > max ? 'child_not_allowed' : null;",
  },
  {
    name: 'task-above-not-asked',
    breaks: 'I4',
    file: `${memory}/open.ts`,
    line: 'const above = row.task.parentId === null ? null : refuseTask(rows, row.task.parentId);',
    becomes: 'const above: Reason | null = null;',
  },
  {
    name: 'suspend-misses-children',
    breaks: 'I4',
    file: `${memory}/tasks.ts`,
    line: 'for (const beneath of beneathOf(rows, id, holdsLease)) {',
    becomes: 'for (const beneath of beneathOf(rows, id, () => false)) {',
  },
  {
    name: 'resumed-beneath-a-suspended-one',
    breaks: 'I4',
    file: `${memory}/tasks.ts`,
    line: 'if (row.task.parentId !== null && refuseTask(rows, row.task.parentId) !== null) return false;',
    becomes: '',
  },
  {
    name: 'heartbeat-revives',
    breaks: 'I4',
    file: `${memory}/tasks.ts`,
    line: "if (row === undefined || refused === 'task_ended' || refused === 'session_revoked') return refused;",
    becomes: 'if (row === undefined) return refused;',
  },
  {
    name: 'in-flight-for-ever',
    breaks: 'I5',
    file: `${core}/lane.ts`,
    line: 'this.#inFlight.delete(id);',
    becomes: "if (settled !== 'waiting') this.#inFlight.delete(id);",
  },
  {
    name: 'provider-never-asked-again',
    breaks: 'I5',
    file: `${core}/lane.ts`,
    line: 'return now < this.#until ? 0 : 1;',
    becomes: 'return 0;',
  },
];
