import { authorizeToken } from './authorize.ts';
import { GcpError } from './errors.ts';
import type { Call } from './server.ts';

/** Pub/Sub, of which a topic and its publishing are enough to see what a token opens that nothing narrows. */
export function serveTopic(call: Call, topic: string, operation: string | undefined): unknown {
  const { body, request, state, trace } = call;
  trace.resource = topic;
  const may = (permission: string) =>
    authorizeToken(call, { permission, bucket: topic, name: topic, listPrefix: undefined });
  if (operation === undefined && request.method === 'GET') {
    may('pubsub.topics.get');
    return { name: topic };
  }
  if (operation !== 'publish' || request.method !== 'POST') throw new GcpError(404, 'NOT_FOUND');
  may('pubsub.topics.publish');
  const messages = messagesOf(body);
  const before = state.published.get(topic) ?? [];
  state.published.set(topic, [...before, ...messages]);
  return { messageIds: messages.map((_, index) => String(before.length + index + 1)) };
}

function messagesOf(body: Buffer): readonly unknown[] {
  try {
    const messages: unknown = Reflect.get(Object(JSON.parse(body.toString('utf8'))), 'messages');
    if (Array.isArray(messages) && messages.length > 0) return messages;
  } catch {
    // Refused below, like anything else without messages.
  }
  throw new GcpError(400, 'INVALID_ARGUMENT');
}
