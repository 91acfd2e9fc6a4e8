import { auditEvent, endTask, isClosed, Refusal, type TaskFound } from '@mayfly/core';
import { joseType, parseId } from '@mayfly/protocol';
import type { Broker } from '../broker.ts';
import { typOf } from '../tokens.ts';
import { authenticate, holdsRole, type Principal } from './authenticate.ts';
import type { Reply } from './errors.ts';
import { recordRefusal } from './refused.ts';
import type { RawRequest } from './request.ts';
import { relationsTo } from './tasks.ts';
import { parseForm, refuseRepeated, singleOf } from './token-request.ts';

/** What a token names; `null` for everything that names nothing of ours. */
type Named =
  | { readonly kind: 'issuance'; readonly issuanceId: string }
  | { readonly kind: 'task'; readonly taskId: string }
  | null;

/** RFC 7009 section 2.2: the same bytes whether something ended, had ended, is another's or never was. */
const done: Reply = { status: 200, body: {} };

/**
 * `POST /revoke` (RFC 7009) for whoever owns the task, or an operator within scope: a tool token, an issuance id, or a
 * task token, which ends its task. 200 only after the commit; the clouds' side follows, and the issuance shows it.
 */
export async function postRevoke(broker: Broker, request: RawRequest): Promise<Reply> {
  let principal: Principal | undefined;
  try {
    const token = tokenOf(request);
    // Whoever holds a person's token may end it: its client is a public one and has no other proof.
    if (broker.signIn?.isToken(token)) return await broker.signIn.revoke(request, parseForm(request.body));
    principal = await authenticate(broker, request);
    await revoke(broker, { token, requestId: request.id, principal });
    return done;
  } catch (error) {
    await recordRefusal(broker, error, { id: request.id, route: 'POST /revoke', principal });
    throw error;
  }
}

/** `token_type_hint` is not needed to tell the kinds apart, so even an unknown one is no error (section 2.1). */
function tokenOf({ body }: RawRequest): string {
  const form = parseForm(body);
  refuseRepeated(form);
  const token = singleOf(form, 'token');
  if (token === null) throw new Refusal('missing_parameter', { detail: 'token' });
  return token;
}

interface Revocation {
  readonly token: string;
  readonly requestId: string;
  readonly principal: Principal;
}

async function revoke(broker: Broker, { token, requestId, principal }: Revocation): Promise<void> {
  const named = await read(broker, token);
  const found = await findOwn(broker, named, principal);
  const owned = named === null || found === undefined ? null : { named, found, requestId, principal };
  if (owned !== null && (await takeBack(broker, owned))) return broker.nudge();
  // Nothing is changed, and it is written down all the same: somebody held a token that was not his, or a dead one.
  const known = found === undefined ? 'unknown or foreign' : 'has ended';
  const { newId, clock, ledger } = broker.exchange;
  const event = { type: 'credential.revoke_ignored', actor: principal.name, body: { requestId, known } };
  await ledger.append(auditEvent({ newId, now: clock.now() }, event));
}

async function read({ tokens, exchange }: Broker, token: string): Promise<Named> {
  if (!token.includes('.')) return asIssuance(token.startsWith('isn_') ? token : undefined);
  if (typOf(token) !== joseType.taskToken) {
    const claims = await tokens.verifyTool(token);
    const jti = claims?.['jti'];
    return asIssuance(typeof jti === 'string' ? jti : undefined);
  }
  try {
    return { kind: 'task', ...(await tokens.verifyTask(token, exchange.clock.now())) };
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}

function asIssuance(text: string | undefined): Named {
  const issuanceId = text === undefined ? undefined : parseId('isn', text);
  return issuanceId === undefined ? null : { kind: 'issuance', issuanceId };
}

/** The task behind it, when the caller may end what is beneath it. */
async function findOwn(broker: Broker, named: Named, principal: Principal): Promise<TaskFound | undefined> {
  if (named === null) return undefined;
  const issued = named.kind === 'issuance' ? await broker.store.issued(named.issuanceId) : undefined;
  const taskId = named.kind === 'task' ? named.taskId : issued?.taskId;
  const found = taskId === undefined ? undefined : await broker.exchange.tasks.find(taskId, { fresh: true });
  if (found === undefined) return undefined;
  const relations = await relationsTo(found, principal, broker);
  const owns = relations.has('owner') || (named.kind === 'task' && relations.has('opener'));
  const { template } = found.task;
  const provider = issued?.provider;
  const thing = { template, ...(provider == null ? {} : { provider }) };
  return owns || holdsRole(principal, ['operator', 'admin'], thing) ? found : undefined;
}

interface Owned extends Omit<Revocation, 'token'> {
  readonly named: NonNullable<Named>;
  readonly found: TaskFound;
}

/** False when nothing lives that could be taken back. */
async function takeBack(broker: Broker, { named, found, requestId, principal }: Owned): Promise<boolean> {
  const { newId, clock, ledger } = broker.exchange;
  const actor = principal.name;
  const taskId = found.task.id;
  if (named.kind === 'task') {
    if (isClosed(found.status.state)) return false;
    const end = { state: 'cancelled', reason: 'its task token was revoked', actor } as const;
    await endTask(taskId, end, broker.lifecycle);
    return true;
  }
  const { issuanceId } = named;
  const event = { type: 'credential.revoke_requested', actor, taskId, issuanceId, body: { requestId } };
  return ledger.revoke(issuanceId, auditEvent({ newId, now: clock.now() }, event));
}
