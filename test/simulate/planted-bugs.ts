import type { Patch } from './graph.ts';

export interface PlantedBug extends Patch {
  readonly name: string;
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
    file: `${core}/exchange.ts`,
    line: "const intended = settle(await ports.ledger.intend(intentOf(step, ports, trail)), () => 'intended' as const);",
    becomes:
      "await mint(step.plan, ports); const intended = settle(await ports.ledger.intend(intentOf(step, ports, trail)), () => 'intended' as const);",
  },
  {
    name: 'answered-though-reaped',
    file: `${core}/exchange.ts`,
    line: 'if (!(await ports.ledger.deliver(deliveryOf(step, minted, ports))))',
    becomes: 'if ((await ports.ledger.deliver(deliveryOf(step, minted, ports))) === null)',
  },
  {
    name: 'base-session-without-intent',
    file: `${core}/base-session.ts`,
    line: 'const flight = ports.baseFlights.get(flightKey) ?? start(flightKey, base, minter, context);',
    becomes: 'const flight = minter.mint(base, { now, signal: context.signal });',
  },
  {
    name: 'ttl-nan',
    file: `${core}/decide.ts`,
    line: 'const ttlSeconds = Math.min(asked, maxSeconds);',
    becomes:
      'const ttlSeconds = Math.min(wanted.ttlSeconds === null ? asked : Number(`${asked}s`), maxSeconds);',
  },
  {
    name: 'disabled-template-mints',
    file: `${core}/cover.ts`,
    line: "return active?.mode === 'enforce' ? active : undefined;",
    becomes: 'return active;',
  },
  {
    name: 'reopened-without-using-the-assertion',
    file: `${core}/lifecycle.ts`,
    line: 'const used = use.uses.length === 0 ? null : await tasks.use(use.uses);',
    becomes: 'const used = use.uses.length >= 0 ? null : await tasks.use(use.uses);',
  },
  {
    name: 'absent-is-success-at-once',
    file: `${core}/reap.ts`,
    line: "if (plan.ends.by !== 'deleted' || attempts < 2) return wait(work, ports);",
    becomes: "if (plan.ends.by !== 'deleted' || attempts < 1) return wait(work, ports);",
  },
  {
    name: 'absent-is-failure',
    file: `${core}/reap.ts`,
    line: 'return whenAbsent(work, ports);',
    becomes: "throw new Fault('provider_refused', { effect: 'none', detail: 'not found' });",
  },
  {
    name: 'expired-before-its-time',
    file: `${core}/reap.ts`,
    line: 'if (secondsPastNotAfter > ports.skewSeconds) return expired(work, ports);',
    becomes: 'if (secondsPastNotAfter > -ports.skewSeconds) return expired(work, ports);',
  },
  {
    name: 'lapsed-task-not-ended',
    file: `${core}/reap.ts`,
    line: "await endTask(taskId, { state: due, reason, actor: 'mayfly' }, ports);",
    becomes: "if (due === 'expired') await endTask(taskId, { state: due, reason, actor: 'mayfly' }, ports);",
  },
  {
    name: 'reap-age-too-small',
    file: `${memory}/ledger.ts`,
    line: 'dueAt: rows.inSeconds(options.reapAgeSeconds),',
    becomes: 'dueAt: rows.inSeconds(1),',
  },
  {
    name: 'deliver-not-conditional',
    file: `${memory}/ledger.ts`,
    line: "if (work?.state !== 'intended' || work.dueAt <= rows.now() || work.notAfter === null) return false;",
    becomes: 'if (work === undefined || work.notAfter === null) return false;',
  },
  {
    name: 'intend-without-the-epoch',
    file: `${memory}/ledger.ts`,
    line: 'if (rows.epoch !== intent.epoch || generation !== intent.generation)',
    becomes: 'if (generation !== intent.generation)',
  },
  {
    name: 'intend-without-the-generation',
    file: `${memory}/ledger.ts`,
    line: 'if (rows.epoch !== intent.epoch || generation !== intent.generation)',
    becomes: 'if (rows.epoch !== intent.epoch)',
  },
  {
    name: 'budget-counted-after',
    file: `${memory}/ledger.ts`,
    line: 'rows.grants.set(grant.id, { ...row, uses: uses + 1 });',
    becomes:
      'setTimeout(() => { const now = rows.grants.get(grant.id); if (now) rows.grants.set(grant.id, { ...now, uses: now.uses + 1 }); }, 100);',
  },
  {
    name: 'repeated-key-mints-again',
    file: `${memory}/ledger.ts`,
    line: 'if (earlier !== undefined && earlier.expiresAt > rows.now())',
    becomes: 'if (earlier !== undefined && earlier.expiresAt < rows.now())',
  },
  {
    name: 'quota-race',
    file: `${memory}/open.ts`,
    line: 'const live = same.filter((row) => row.countedAs === countedAs && !isClosed(row.state)).length;',
    becomes:
      'const live = same.filter((row) => row.countedAs === countedAs && !isClosed(row.state) && row.task.openedAt < rows.inSeconds(-1)).length;',
  },
  {
    name: 'replay-not-seen',
    file: `${memory}/open.ts`,
    line: 'if (rows.replay.has(digest)) {',
    becomes: 'if (rows.replay.has(digest) && taken.length > 0) {',
  },
  {
    name: 'lost-lease-comes-back',
    file: `${memory}/open.ts`,
    line: "if (row?.state !== 'open' || row.leaseUntil <= rows.now()) return;",
    becomes: "if (row?.state !== 'open') return;",
  },
  {
    name: 'lost-cascade',
    file: `${memory}/tasks.ts`,
    line: 'return [id, ...children.flatMap(({ task }) => treeOf(rows, task.id))];',
    becomes:
      'return children.length > 9 ? [id, ...children.flatMap(({ task }) => treeOf(rows, task.id))] : [id];',
  },
  {
    name: 'end-misses-intended',
    file: `${memory}/tasks.ts`,
    line: "if (work.taskId !== taskId || (work.state !== 'intended' && work.state !== 'delivered')) continue;",
    becomes: "if (work.taskId !== taskId || work.state !== 'delivered') continue;",
  },
  {
    name: 'resume-without-new-generation',
    file: `${memory}/tasks.ts`,
    line: "rows.grants.set(grant.grant.id, { ...grant, state: 'active', generation: grant.generation + 1 });",
    becomes: "rows.grants.set(grant.grant.id, { ...grant, state: 'active' });",
  },
  {
    name: 'abandoned-within-its-lease',
    file: `${memory}/tasks.ts`,
    line: "if (state === 'abandoned' && !lapsed) return endingOf(rows, id);",
    becomes: '',
  },
  {
    name: 'revoke-without-new-generation',
    file: `${memory}/revoke.ts`,
    line: 'rows.grants.set(grant.grant.id, { ...grant, generation: grant.generation + 1 });',
    becomes: '',
  },
  {
    name: 'settle-without-looking-again',
    file: `${memory}/work-queue.ts`,
    line: 'if (work === undefined) continue;',
    becomes: '',
  },
  {
    name: 'life-is-nan',
    file: `${memory}/work-queue.ts`,
    line: 'const secondsPastNotAfter = (rows.now().getTime() - row.notAfter.getTime()) / 1000;',
    becomes: 'const secondsPastNotAfter = rows.now().getTime() - Number(`${row.notAfter.getTime()}ms`);',
  },
  {
    name: 'document-from-a-stale-read',
    file: `${aws}/deny.ts`,
    line: 'const document = await options.deny.request(role, entries, writerLeaseSeconds);',
    becomes:
      'const asked = await options.deny.request(role, entries, writerLeaseSeconds); const document = asked && { ...asked, entries: entries.map((one) => one.sourceIdentity).sort() };',
  },
  {
    name: 'document-not-read-back',
    file: `${aws}/deny.ts`,
    line: 'const seen = await readDenyPolicy(client, role, context.signal).catch((error: unknown) => {',
    becomes: 'const seen = await Promise.resolve(wanted(document, widened)).catch((error: unknown) => {',
  },
  {
    name: 'overwritten-document-stays',
    file: `${aws}/deny.ts`,
    line: 'if (intact && !shrinks) return;',
    becomes: 'if (!shrinks) return;',
  },
  {
    name: 'missing-fence',
    file: `${memory}/deny-store.ts`,
    line: 'if (row?.version !== version) return false;',
    becomes: 'if (row === undefined) return false;',
  },
  {
    name: 'two-writers-at-once',
    file: `${memory}/deny-store.ts`,
    line: 'if (row.writerUntil !== null && row.writerUntil > rows.now()) return null;',
    becomes: '',
  },
];
