import type { Delivered, Refused } from '@mayfly/core';
import type { ToolCallDetail } from '@mayfly/protocol';
import type { World } from './world.ts';

/** Opens `run-1` of the world's template and reads one invoice on the cloud. */
export function reading(change: Partial<ToolCallDetail> = {}): ToolCallDetail {
  return {
    type: 'mayfly_tool_call',
    task: { template: 'invoice-reconcile', ref: 'run-1', params: { quarter: '2026q3' } },
    tool: 's3.read',
    identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
    ...change,
  };
}

/** The same task posts its report to the tool server. */
export function posting(change: Partial<ToolCallDetail> = {}): ToolCallDetail {
  return reading({ tool: 'report.post', identifier: 'https://reports.example/2026q3', ...change });
}

/** `delivered`, or the reason of the refusal: what most claims look at. */
export function reasonOf(answer: Delivered | Refused): string {
  return answer.kind === 'delivered' ? 'delivered' : answer.error.reason;
}

/** The answer, when there must be one. */
export function deliveredOf(answer: Delivered | Refused): Delivered {
  if (answer.kind === 'delivered') return answer;
  throw new Error(`refused: ${answer.error.reason} ${answer.error.detail ?? ''}`);
}

/** Types of everything appended, in order. */
export function eventsOf({ store }: Pick<World, 'store'>): readonly string[] {
  return store.rows.audit.map(({ type }) => type);
}

/** The one task that there is. */
export function onlyTask({ store }: Pick<World, 'store'>) {
  const [row, ...others] = store.rows.tasks.values();
  if (row === undefined || others.length > 0) throw new Error(`${others.length + (row ? 1 : 0)} tasks`);
  return row;
}
