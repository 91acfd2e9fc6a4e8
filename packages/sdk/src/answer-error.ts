import { type ErrorFacts, type MayflyError, RateLimited, Refused, TaskOver, Unavailable } from './errors.ts';
import type { Asked } from './messages.ts';
import type { Incoming } from './transport.ts';
import { asList, asObject, asText, parseJson } from './wire.ts';

/** The typed error of an answer that is no 2xx: OAuth errors (RFC 6749 5.2) and problems (RFC 9457) alike. */
export function errorOfAnswer(answer: Incoming, asked: Asked = {}): MayflyError {
  const { status, headers } = answer;
  const body = asObject(parseJson(answer.body));
  const reason = reasonOf(body['reason']) ?? reasonOf(body['error']);
  if (reason === undefined) return unreadable(answer);
  const facts: ErrorFacts = {
    reason,
    status,
    says: asText(body['title']) ?? asText(body['error_description']) ?? 'The server refused.',
    todo: asText(body['detail']),
    issuanceId: issuanceOf(body['issuance_id']),
    retryAfterSeconds: secondsOf(headers['retry-after']),
    asked,
    errors: asList(body['errors']).flatMap((one) => asText(one) ?? []),
  };
  if (status === 429) return new RateLimited(facts);
  if (status >= 500) return new Unavailable(facts, status === 503);
  const state = overStates[reason];
  return state === undefined ? new Refused(facts) : new TaskOver({ ...facts, state });
}

/** An answer that is not the broker's: a proxy's page, a redirect, another server. */
export function unreadable({ status }: Incoming): Unavailable {
  const what =
    status >= 300 && status < 400
      ? `a redirect (${status}), which is not followed`
      : `HTTP ${status} without a body of Mayfly`;
  const says = `the server answered ${what}.`;
  return new Unavailable(
    { reason: 'answer_unreadable', says, todo: 'Check MAYFLY_SERVER.', status },
    status >= 502 && status <= 504,
  );
}

/** What these refusals of an exchange or a heartbeat say about the task itself. */
const overStates: Readonly<Record<string, string>> = { task_ended: 'ended', task_suspended: 'suspended' };

function reasonOf(value: unknown): string | undefined {
  const text = asText(value);
  return text !== undefined && /^[a-z][a-z0-9_]{0,63}$/.test(text) ? text : undefined;
}

function issuanceOf(value: unknown): string | undefined {
  const text = asText(value);
  return text !== undefined && /^isn_[0-9A-Z]{26}$/.test(text) ? text : undefined;
}

/** RFC 9110 section 10.2.3; the broker sends seconds, a date of a proxy counts as not said. */
function secondsOf(header: string | undefined): number | undefined {
  return header !== undefined && /^[0-9]{1,6}$/.test(header) ? Number.parseInt(header, 10) : undefined;
}
