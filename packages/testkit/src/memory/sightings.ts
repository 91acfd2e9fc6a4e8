import { type DeviationAct, type DeviationLimit, isSharper, type Sighting } from '@mayfly/core';
import { refuseTask } from './open.ts';
import { quarantineKey } from './quarantine.ts';
import type { MemoryRows, SightingRow } from './rows.ts';
import { closeTask, suspendTask } from './tasks.ts';

/** `see_task`: counts one sight of a live task off its path, and acts when a limit is reached. */
export function seeTask(rows: MemoryRows, sighting: Sighting | null): DeviationAct | null {
  if (sighting === null || refuseTask(rows, sighting.taskId) !== null) return null;
  const { taskId, rule, evidence, what } = sighting;
  const ofRule = () =>
    [...rows.sightings.values()].filter((one) => one.taskId === taskId && one.rule === rule);
  if (ofRule().some((one) => one.what === what && isWithin(rows, one, sighting.retrySeconds))) return null;
  rows.sightings.set(evidence, { taskId, rule, at: rows.now(), evidence, what, told: false });
  const untold = (seconds: number) => ofRule().filter((one) => !one.told && isWithin(rows, one, seconds));
  const [reached] = sighting.limits
    .filter(({ after, withinSeconds }) => untold(withinSeconds).length >= after)
    .sort(sharpestFirst);
  if (reached === undefined) return null;
  const seen = untold(reached.withinSeconds);
  for (const one of seen) rows.sightings.set(one.evidence, { ...one, told: true });
  act(rows, { sighting, how: reached.act, evidence: seen.map((one) => one.evidence).sort() });
  return reached.act;
}

function sharpestFirst(one: DeviationLimit, other: DeviationLimit): number {
  if (one.act !== other.act) return isSharper(one.act, other.act) ? -1 : 1;
  return other.withinSeconds - one.withinSeconds;
}

function isWithin(rows: MemoryRows, { at }: SightingRow, seconds: number): boolean {
  return at > rows.inSeconds(-seconds);
}

/** `act_on_deviation`. */
function act(
  rows: MemoryRows,
  {
    sighting,
    how,
    evidence,
  }: { readonly sighting: Sighting; readonly how: DeviationAct; readonly evidence: readonly string[] },
): void {
  const { taskId, rule } = sighting;
  const quarantineSeconds = how === 'note' ? null : sighting.quarantineSeconds;
  const audit = { ...sighting.audit, body: { act: how, evidence, quarantineSeconds, rule } };
  const reason = `deviation: ${rule}`;
  if (how === 'note') rows.append(audit);
  else if (how === 'suspend') suspendTask(rows, taskId, { reason, audit, beneath: 'task.suspended' });
  else closeTask(rows, taskId, { state: 'deviated', reason, audit, beneath: 'task.ended' });
  const task = rows.tasks.get(taskId)?.task;
  if (quarantineSeconds === null || task === undefined) return;
  const [key, until] = [quarantineKey(task), rows.inSeconds(quarantineSeconds)];
  const before = rows.quarantines.get(key);
  rows.quarantines.set(key, before !== undefined && before > until ? before : until);
}
