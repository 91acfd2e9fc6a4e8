import { sameValue } from './authentic.ts';
import { patternWithin } from './pattern.ts';
import type { Grant, Task } from './task.ts';
import type { Template } from './template.ts';

/** A task above another, with the version it was opened with; undefined when that cannot be proven. */
export interface Lineage {
  readonly task: Task;
  readonly pinned: Template | undefined;
}

/** The grants of a child that lie wholly within one of its parent's: never wider, longer or richer. */
export function attenuate(child: readonly Grant[], parent: readonly Grant[]): readonly Grant[] {
  return child.flatMap((grant) => {
    const outer = parent.find((one) => isWithin(grant, one));
    return outer === undefined ? [] : [{ ...grant, above: [...outer.above, outer.id] }];
  });
}

function isWithin(inner: Grant, outer: Grant): boolean {
  return (
    inner.tool === outer.tool &&
    inner.provider === outer.provider &&
    inner.access === outer.access &&
    sameValue(inner.mint, outer.mint) &&
    inner.actions.every((action) => outer.actions.includes(action)) &&
    inner.ttl.maxSeconds <= outer.ttl.maxSeconds &&
    fits(inner.budget.exchanges, outer.budget.exchanges) &&
    fits(inner.budget.perMinute, outer.budget.perMinute) &&
    patternWithin(inner.resource, outer.resource)
  );
}

function fits(inner: number | null, outer: number | null): boolean {
  return outer === null || (inner !== null && inner <= outer);
}
