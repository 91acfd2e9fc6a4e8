import { matchesSubject, Refusal } from '@mayfly/core';
import { parseId } from '@mayfly/protocol';
import type { Broker } from '../broker.ts';
import { authenticate } from './authenticate.ts';
import type { Reply } from './errors.ts';
import { recordRefusal } from './refused.ts';
import type { RawRequest } from './request.ts';
import { parseForm, refuseRepeated, singleOf } from './token-request.ts';

/**
 * `POST /introspect` (RFC 7662) for subjects of a ResourceServer, about tokens of its audience. Everything else about
 * any token is `{"active":false}`; an ended task is inactive from its commit on.
 */
export async function postIntrospect(broker: Broker, request: RawRequest): Promise<Reply> {
  try {
    return await introspect(broker, request);
  } catch (error) {
    await recordRefusal(broker, error, { id: request.id, route: 'POST /introspect', principal: undefined });
    throw error;
  }
}

async function introspect(broker: Broker, request: RawRequest): Promise<Reply> {
  const form = parseForm(request.body);
  refuseRepeated(form);
  const token = singleOf(form, 'token');
  const principal = await authenticate(broker, request);
  const policy = await broker.policies.current();
  const servers = [...policy.servers.values()].filter(
    (server) =>
      principal.viaTask === null &&
      server.subjects.some((subject) => matchesSubject(subject, principal.identity)),
  );
  if (servers.length === 0)
    throw new Refusal('unauthenticated', { detail: 'no subject of a resource server' });
  if (token === null) throw new Refusal('missing_parameter', { detail: 'token' });
  const inactive: Reply = { status: 200, body: { active: false } };
  const claims = await broker.tokens.verifyTool(token);
  const id = claims === undefined ? undefined : parseId('isn', String(claims['jti']));
  const own = servers.some(({ audience }) => audience === claims?.aud);
  if (claims === undefined || id === undefined || !own || !(await broker.store.tokenStatus(id)))
    return inactive;
  return { status: 200, body: liveView(claims) };
}

/** RFC 7662 section 2.2, with what RFC 8693 section 4.1, 9396 section 9.2 and 9449 section 6.2 add; never another claim. */
export function liveView(claims: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { iss, sub, aud, exp, iat, jti, client_id, txn, act, cnf, authorization_details } = claims;
  const bound = typeof Reflect.get(Object(cnf), 'jkt') === 'string';
  const who = { iss, sub, aud, client_id, act, cnf };
  // What is undefined is not sent.
  return {
    ...{ active: true, ...who, exp, iat, jti, txn, authorization_details },
    token_type: bound ? 'DPoP' : 'Bearer',
  };
}
