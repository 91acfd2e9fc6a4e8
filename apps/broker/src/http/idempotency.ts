import { createHash } from 'node:crypto';
import { Refusal, workloadName } from '@mayfly/core';
import type { Reply } from './errors.ts';
import type { Call } from './route.ts';

/**
 * `Idempotency-Key` on /v1: belongs to (caller, route, body digest) for 24 h; the same key and body answer the
 * first answer, another body is refused. Task tokens are never stored: a repeated answer lacks them, and a
 * heartbeat gives a fresh one.
 */
export async function remember(
  { broker, request, principal }: Call,
  run: () => Promise<Reply>,
): Promise<Reply> {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string' || key === '') return run();
  if (key.length > 255) throw new Refusal('malformed_request', { detail: 'Idempotency-Key' });
  const route = `${request.method} ${request.path}`;
  const { name, identity, actors, viaTask, parent, boundTo } = principal;
  // The same workload with another actor or key, or from within a task, is another caller.
  const by = actors.map((actor) => [workloadName(actor), actor.issuer]);
  const within = [viaTask?.task.id ?? null, parent?.task.id ?? null];
  const caller = [name, identity.issuer, identity.claims, by, within, boundTo];
  const digest = broker.exchange.digest(['v1', ...caller, route, key]);
  const bodyDigest = createHash('sha256').update(request.body).digest('hex');
  const { store } = broker;
  const reserved = await store.reserveAnswer(digest, bodyDigest);
  switch (reserved.kind) {
    case 'answered':
      return reserved.answer;
    case 'conflict':
      throw new Refusal('idempotency_conflict');
    case 'in_progress':
      throw new Refusal('idempotency_in_progress');
    case 'reserved':
      break;
    default:
      return reserved satisfies never;
  }
  try {
    const reply = await run();
    await store.rememberAnswer(digest, { status: reply.status, body: withoutToken(reply.body) });
    return reply;
  } catch (error) {
    // A Refusal changed nothing; after a Fault nobody knows, and the key frees itself within a minute.
    if (error instanceof Refusal) await store.releaseAnswer(digest);
    throw error;
  }
}

function withoutToken(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || !('taskToken' in body)) return body;
  const { taskToken: _, ...rest } = body;
  return rest;
}
