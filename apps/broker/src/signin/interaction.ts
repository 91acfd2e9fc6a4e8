import { Refusal } from '@mayfly/core';
import { errors, type Interaction } from 'oidc-provider';
import type { Reply } from '../http/errors.ts';
import type { RawRequest } from '../http/request.ts';
import { type Client, nameOf } from './clients.ts';
import { derive, sameText } from './derive.ts';
import type { Pair } from './drive.ts';
import { handOverPage, pageReply } from './pages.ts';
import { accountOf } from './person.ts';
import { startSeconds } from './provider.ts';
import type { Parts } from './sign-in.ts';

/** Between the provider's question "who is it?" and the answer: there and back through the organisation's own sign-in. */
export function interactionRoutes(parts: Parts, clients: readonly Client[]) {
  const within =
    (handle: (at: Going) => Promise<Reply>) =>
    async (request: RawRequest): Promise<Reply> =>
      handle(await goingOn(parts, request));
  return [
    { path: '/sign-in', get: within(async (at) => handOver(at, clients)) },
    {
      path: '/sign-in/continue',
      get: within(async ({ uid }) => redirect((await parts.upstream.begin(uid)).href)),
    },
    { path: '/sign-in/callback', get: within(comeBack) },
    { path: '/sign-in/cancel', get: within(cancel) },
  ] as const;
}

/** The sign-in that this browser's cookie names. */
interface Going {
  readonly parts: Parts;
  readonly request: RawRequest;
  readonly uid: string;
  readonly client: string;
  readonly scope: unknown;
  /** Tells the provider how it went; where the browser goes on. */
  answer(result: object): Promise<Reply>;
}

async function goingOn(parts: Parts, request: RawRequest): Promise<Going> {
  const { provider, driver } = parts.current();
  const pair: Pair = driver.pairOf({
    method: 'GET',
    url: request.path,
    cookie: request.headers.cookie,
    requestId: request.id,
    accept: 'text/html',
  });
  let found: Interaction;
  try {
    found = await provider.interactionDetails(pair.request, pair.response);
  } catch (cause) {
    if (cause instanceof errors.SessionNotFound) throw new Refusal('sign_in_lost', { cause });
    throw cause;
  }
  const { client_id: client, scope } = found.params;
  const answer = async (result: object) =>
    redirect(await provider.interactionResult(pair.request, pair.response, result));
  return { parts, request, uid: found.uid, client: String(client), scope, answer };
}

function handOver({ parts: { issuerName, secret }, uid, client }: Going, clients: readonly Client[]): Reply {
  const page = handOverPage({
    client: nameOf(clients, client),
    provider: issuerName,
    cancel: derive(secret(), 'cancel', uid),
  });
  return pageReply(200, page);
}

async function comeBack(going: Going): Promise<Reply> {
  const { parts, request, uid, client } = going;
  const { query } = request;
  const state = query.getAll('state');
  // Another browser's answer, or that of an earlier try: this sign-in goes on as if nothing had come.
  if (state.length !== 1 || !sameText(state[0] ?? '', derive(parts.secret(), 'state', uid))) {
    const refusal = new Refusal('sign_in_lost', { detail: 'state' });
    await parts.record(refusal, { requestId: request.id, client });
    throw refusal;
  }
  try {
    return await admit(going);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    await parts.record(error, { requestId: request.id, client });
    return going.answer({ error: 'access_denied', error_description: 'the sign-in was refused' });
  }
}

/** Who came back, by the TrustedIssuer in force, becomes the person of a grant. */
async function admit({ parts, request, uid, client, answer }: Going): Promise<Reply> {
  const { rows, upstream, config } = parts;
  const person = await upstream.finish(uid, request.query);
  const accountId = accountOf(person);
  const { provider } = parts.current();
  const grant = new provider.Grant({ accountId, clientId: client });
  grant.addOIDCScope('openid');
  const grantId = await grant.save();
  const lifeSeconds = Math.floor(config.signInLife / 1000) + startSeconds;
  await rows.put({ model: 'Person', id: grantId, payload: person, lifeSeconds });
  return answer({ login: { accountId, remember: false }, consent: { grantId } });
}

async function cancel({ parts, request, uid, client, answer }: Going): Promise<Reply> {
  // A link that anybody else made cancels nothing.
  const key = request.query.get('key') ?? '';
  if (!sameText(key, derive(parts.secret(), 'cancel', uid)))
    throw new Refusal('sign_in_lost', { detail: 'key' });
  const refusal = new Refusal('sign_in_denied', { detail: 'cancelled before the sign-in' });
  await parts.record(refusal, { requestId: request.id, client });
  return answer({ error: 'access_denied', error_description: 'the sign-in was refused' });
}

function redirect(location: string): Reply {
  return pageReply(303, '', { location });
}
