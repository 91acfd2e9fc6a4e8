import type { ErrorFacts, ErrorName, MayflyError } from './errors.ts';
import { line } from './wire.ts';

/** What the caller asked for: its own words, put into messages. */
export interface Asked {
  readonly tool?: string;
  readonly resource?: string;
  readonly template?: string;
  /** What the task has, where it is known. */
  readonly grants?: readonly { readonly tool: string; readonly resource: string }[];
}

/** Tools named in one message. */
const toolsNamedMax = 20;

/** One line for people: what is wrong, whom to ask, and at its end the stable reason. */
export function humanMessage(facts: ErrorFacts, name: ErrorName): string {
  const { reason, todo, issuanceId, asked = {}, errors = [] } = facts;
  const listed = errors.map((one) => `\n${line(one)}`).join('');
  const specific = notGranted(reason, asked);
  if (specific !== undefined) return `not granted: ${specific} ${askOwner(issuanceId)} [${reason}]${listed}`;
  const explain = issuanceId === undefined ? '' : ` See: mayfly explain ${issuanceId}`;
  const advice = todo === undefined ? '' : ` ${line(todo)}`;
  return `${heads[name]}: ${line(facts.says)}${advice}${explain} [${reason}]${listed}`;
}

const heads: Readonly<Record<ErrorName, string>> = {
  Refused: 'refused',
  TaskOver: 'task over',
  RateLimited: 'not now',
  Unavailable: 'unavailable',
  Misconfigured: 'configuration',
  NoIdentity: 'configuration',
};

function notGranted(reason: string, asked: Asked): string | undefined {
  const { tool, resource, template = 'this task' } = asked;
  if (reason === 'tool_not_granted' && tool !== undefined) {
    const has = toolsOf(asked);
    return `tool ${line(tool)} is not in ${line(template)}${has === '' ? '' : ` (has: ${has})`}.`;
  }
  if (reason === 'resource_outside_grant' && resource !== undefined) {
    const bound = boundOf(asked);
    return `${line(resource)} lies outside the grant${bound === '' ? '' : ` (${bound})`}.`;
  }
  return undefined;
}

function askOwner(issuanceId: string | undefined): string {
  return issuanceId === undefined
    ? 'Ask the owner of the template.'
    : `Ask the owner of the template with: mayfly explain ${issuanceId}`;
}

function toolsOf({ grants = [] }: Asked): string {
  const tools = [...new Set(grants.map(({ tool }) => tool))];
  return tools.slice(0, toolsNamedMax).map(line).join(', ');
}

function boundOf({ tool, grants = [] }: Asked): string {
  return grants
    .filter((one) => one.tool === tool)
    .slice(0, toolsNamedMax)
    .map(({ resource }) => line(resource))
    .join(', ');
}

/** For a language model: plain sentences, the caller's own names, no instruction that the server could have written. */
export function modelMessage(error: MayflyError): string {
  const { asked, issuanceId } = error;
  const call = asked.tool === undefined ? 'Mayfly refused the call.' : `Mayfly refused ${callOf(asked)}.`;
  const what = `${capital(line(error.says)).replace(/[.]?$/, '.')}`;
  const reference = issuanceId === null ? '' : ` Reference for people: ${issuanceId}.`;
  return `${call} ${what} ${adviceFor(error)}${reference}`;
}

function callOf({ tool = '', resource }: Asked): string {
  const on = resource === undefined ? '' : ` on "${line(resource)}"`;
  return `the tool "${line(tool)}"${on}`;
}

function adviceFor(error: MayflyError): string {
  const { reason, asked, retryAfterSeconds } = error;
  const tools = toolsOf(asked);
  const bound = boundOf(asked);
  if (taskIsOver.has(reason)) return 'Stop: no further tool call will work in this task.';
  if (reason === 'tool_not_granted')
    return `${tools === '' ? '' : `This task has these tools: ${tools}. `}Do not try this tool again; use another, or tell the user what access is missing.`;
  if (outsideGrant.has(reason))
    return `${bound === '' ? '' : `Granted is: ${bound}. `}Ask only for what lies inside the grant, or tell the user what access is missing.`;
  if (reason === 'budget_spent') return 'Do not call this tool again in this task; tell the user.';
  if (error.retryable) {
    const after = retryAfterSeconds === null ? 'later' : `after ${retryAfterSeconds} seconds`;
    return `Nothing is wrong with the call: it may be tried again ${after}.`;
  }
  return 'Do not repeat the same call; tell the user.';
}

/** Reasons after which nothing works in the task any more. */
export const taskIsOver: ReadonlySet<string> = new Set([
  'task_ended',
  'task_suspended',
  'task_unknown',
  'lease_lost',
  'grant_ended',
  'too_little_time_left',
]);
const outsideGrant: ReadonlySet<string> = new Set([
  'resource_outside_grant',
  'action_outside_grant',
  'identifier_malformed',
  'ttl_too_long',
  'ttl_too_short',
]);

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
