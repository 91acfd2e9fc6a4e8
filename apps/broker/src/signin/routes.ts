import { Fault, Refusal } from '@mayfly/core';
import { errorRow } from '@mayfly/protocol';
import { type ErrorContext, oauthError, type Reply } from '../http/errors.ts';
import { mediaType, type RawRequest } from '../http/request.ts';
import { parseForm, refuseRepeated } from '../http/token-request.ts';
import { asRefusal, jsonOf } from './answer.ts';
import { type Client, grantTypeCode } from './clients.ts';
import type { Answered } from './drive.ts';
import { interactionRoutes } from './interaction.ts';
import { errorPageText, pageReply } from './pages.ts';
import type { Parts } from './sign-in.ts';
import { clientOf } from './token.ts';

export interface SignInRoute {
  readonly path: string;
  readonly methods: Readonly<Record<string, (request: RawRequest) => Promise<Reply>>>;
  asError(error: unknown, context: ErrorContext): Reply;
  readonly bodyMax: number;
  readonly bodyType?: string;
}

const form = 'application/x-www-form-urlencoded';
/** A code, a client id, a few words. */
const bodyBytesMax = 8_192;

/** Every path of sign-in beside /token. Those of the code flow exist where a client may use it. */
export function pageRoutes(parts: Parts, clients: readonly Client[]): readonly SignInRoute[] {
  const browser = clients.some(({ grantType }) => grantType === grantTypeCode);
  const page = (path: string, methods: SignInRoute['methods']): SignInRoute => ({
    path,
    methods,
    asError: pageError,
    bodyMax: 'POST' in methods ? bodyBytesMax : 0,
  });
  const api = (path: string, post: (request: RawRequest) => Promise<Reply>): SignInRoute => ({
    path,
    methods: { POST: post },
    asError: oauthError,
    bodyMax: bodyBytesMax,
    bodyType: form,
  });
  return [
    api('/device_authorization', (request) => startDevice(parts, request)),
    page('/device', {
      GET: (request) => enterCode(parts, request),
      POST: (request) => passPage(parts, request, formOf(request)),
    }),
    page('/device/:uid', { GET: (request) => passPage(parts, request) }),
    ...(browser
      ? [
          page('/authorize', { GET: (request) => authorize(parts, request) }),
          page('/authorize/:uid', { GET: (request) => passPage(parts, request) }),
        ]
      : []),
    ...interactionRoutes(parts, clients).map(({ path, get }) => page(path, { GET: get })),
  ];
}

async function startDevice(parts: Parts, request: RawRequest): Promise<Reply> {
  const sent = parseForm(request.body);
  try {
    parts.starts();
    refuseRepeated(sent);
    // There is one scope, and RFC 8628 section 3.1 lets a client leave it out.
    const asked = new URLSearchParams({ client_id: sent.get('client_id') ?? '', scope: 'openid' });
    const answer = await parts.current().driver.ask({
      method: 'POST',
      url: '/device_authorization',
      form: asked,
      requestId: request.id,
      accept: 'application/json',
    });
    const body = { ...jsonOf(answer), interval: parts.config.signInPollInterval / 1000 };
    return { status: 200, body };
  } catch (error) {
    if (error instanceof Refusal)
      await parts.record(error, { requestId: request.id, client: clientOf(sent) });
    throw error;
  }
}

/** A code in the address is filled in and no more: the person compares it and goes on (RFC 8628 section 3.3.1). */
async function enterCode(parts: Parts, request: RawRequest): Promise<Reply> {
  parts.starts();
  const code = request.query.get('user_code') ?? '';
  const query = code === '' ? '' : `?${new URLSearchParams({ code }).toString()}`;
  return replyOf(await ask(parts, request, { url: `/device${query}` }));
}

async function authorize(parts: Parts, request: RawRequest): Promise<Reply> {
  parts.starts();
  // Other modes hand the code over by a page with a script, or in the fragment.
  const modes = request.query.getAll('response_mode').filter((mode) => mode !== '' && mode !== 'query');
  if (modes.length > 0) {
    const refusal = new Refusal('sign_in_request_invalid', { detail: 'response_mode' });
    await parts.record(refusal, { requestId: request.id, client: clientOf(request.query) });
    throw refusal;
  }
  return passPage(parts, request);
}

/** A page or redirect of the provider, for the browser as it came. */
async function passPage(parts: Parts, request: RawRequest, sent?: URLSearchParams): Promise<Reply> {
  const query = request.query.size === 0 ? '' : `?${request.query.toString()}`;
  const answer = await ask(parts, request, { url: `${request.path}${query}`, form: sent });
  const refusal = asRefusal(answer.error);
  // What was denied was recorded where it was; a client that only tries whether somebody is signed in asks nothing.
  if (refusal !== undefined && refusal.reason !== 'sign_in_denied' && refusal.detail !== 'login_required')
    await parts.record(refusal, { requestId: request.id, client: clientOf(request.query) });
  return replyOf(answer);
}

function ask(parts: Parts, request: RawRequest, asked: { url: string; form?: URLSearchParams | undefined }) {
  return parts.current().driver.ask({
    ...asked,
    method: asked.form === undefined ? 'GET' : 'POST',
    cookie: request.headers.cookie,
    requestId: request.id,
    accept: 'text/html',
  });
}

function formOf({ headers, body }: RawRequest): URLSearchParams {
  if (mediaType(headers) !== form) throw new Refusal('unsupported_media_type');
  return parseForm(body);
}

/** Only what a browser needs of the provider's answer. A failure beneath it is thrown on. */
function replyOf({ status, headers, body, error }: Answered): Reply {
  // The provider's own pages say what it refuses; what it did not see coming has none.
  if (error !== undefined && status >= 500) throw asRefusal(error) ?? error;
  const kept: Record<string, string | readonly string[]> = {};
  const { location, 'set-cookie': cookies } = headers;
  if (typeof location === 'string') kept['location'] = location;
  if (Array.isArray(cookies)) kept['set-cookie'] = cookies;
  return pageReply(status, status >= 300 && status < 400 ? '' : body, kept);
}

/** A page with the constant sentences of the table; a failure of ours says no more than that. */
function pageError(error: unknown, context: ErrorContext): Reply {
  const { status, headers = {} } = oauthError(error, context);
  const reason = error instanceof Refusal || error instanceof Fault ? error.reason : 'internal';
  return pageReply(errorRow(reason).apiStatus ?? status, errorPageText(reason), headers);
}
