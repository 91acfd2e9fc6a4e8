import { Fault, Refusal, receiveEvent } from '@mayfly/core';
import { errorRow } from '@mayfly/protocol';
import type { Broker } from '../broker.ts';
import { type ErrorContext, MethodRefused, type Reply } from './errors.ts';
import { recordRefusal } from './refused.ts';
import type { RawRequest } from './request.ts';

export const eventsPath = '/v1/events';
export const eventsType = 'application/secevent+jwt';

/** RFC 8935 section 2.2: taken, and durable. */
const taken: Reply = { status: 202, body: '' };

/**
 * `POST /v1/events`: one security event token, pushed (RFC 8935). Its signature says who sends it, so that no other
 * credential is asked for. 202 only after the commit; the same event again changes nothing.
 */
export async function postEvent(broker: Broker, request: RawRequest): Promise<Reply> {
  const sender: { name: string | null } = { name: null };
  try {
    return await take(broker, request, sender);
  } catch (error) {
    const { name } = sender;
    const principal = name === null ? undefined : { name, viaTask: null };
    await recordRefusal(broker, error, { id: request.id, route: `POST ${eventsPath}`, principal });
    const result = error instanceof Refusal ? error.reason : 'failed';
    broker.metrics.securityEvents.inc({ result });
    if (result === 'rate_limited')
      broker.exchange.report('a transmitter wants to end more than it may in a minute', {
        issuer: name,
        alarm: 'events_limited',
      });
    throw error;
  }
}

async function take(
  broker: Broker,
  { body, query }: RawRequest,
  sender: { name: string | null },
): Promise<Reply> {
  if (query.size > 0) throw new Refusal('event_malformed', { detail: 'query' });
  const set = Buffer.from(body).toString('latin1');
  await broker.policies.refresh();
  const { issuer, transmitter } = broker.policies.transmitter(set);
  const event = await transmitter.verify(set, broker.exchange.clock.now());
  sender.name = issuer.name;
  const { revocations } = broker.store;
  const skewSeconds = broker.config.clockSkew / 1000;
  const result = await receiveEvent(event, issuer, { ...broker.lifecycle, revocations, skewSeconds });
  broker.metrics.securityEvents.inc({ result });
  if (event.effect !== 'none') broker.nudge();
  return taken;
}

/** RFC 8935 sections 2.3 and 2.4: `err` and `description`, in no other form. A transmitter sends again what was not refused for good. */
export function eventError(error: unknown, { requestId }: ErrorContext): Reply {
  const known = error instanceof Refusal || error instanceof Fault;
  const reason = known ? error.reason : 'internal';
  const { status, oauth, says } = errorRow(reason);
  const retry = error instanceof Refusal ? (error.retryAfterSeconds ?? 1) : 1;
  const isForLater = status === 429 || status === 503;
  return {
    status: isForLater || status >= 500 || status === 405 || status === 413 ? status : 400,
    body: {
      err: rfc8935.has(oauth) ? oauth : 'invalid_request',
      description: says,
      reason,
      trace_id: requestId,
    },
    headers: {
      'content-language': 'en',
      ...(isForLater ? { 'retry-after': String(retry) } : {}),
      ...(error instanceof MethodRefused ? { allow: error.allow } : {}),
    },
  };
}

/** The registry of RFC 8935 section 7.1. */
const rfc8935: ReadonlySet<string> = new Set([
  ...['invalid_request', 'invalid_key', 'invalid_issuer', 'invalid_audience'],
  ...['authentication_failed', 'access_denied'],
]);
