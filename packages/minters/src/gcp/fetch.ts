import { pipeline, Readable } from 'node:stream';
import { Agent, fetch as send } from 'undici';
import { Bounded } from '../bounded.ts';
import { answerTimeoutMs } from './call.ts';

/** Said, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment cannot unsay it; proxies of the environment are not taken. */
const dispatcher = new Agent({ connect: { rejectUnauthorized: true }, bodyTimeout: answerTimeoutMs });

/** What is sent to Google carries a token of ours: to that origin and nowhere else, and no more is read than an answer. */
export const guardedFetch: typeof fetch = async (url, init = {}) => {
  const { method = 'GET', headers, body, signal } = init;
  const answer = await send(String(url), {
    ...{ dispatcher, method, redirect: 'error' },
    ...(headers === undefined ? {} : { headers: [...new Headers(headers)] }),
    ...(signal == null ? {} : { signal }),
    ...(body == null ? {} : { body: new Uint8Array(await new Response(body).arrayBuffer()) }),
  });
  const { status, statusText } = answer;
  const said = new Headers([...answer.headers]);
  if (answer.body === null) return new Response(null, { status, statusText, headers: said });
  const bounded = pipeline(Readable.fromWeb(answer.body), new Bounded(), () => undefined);
  return new Response(Readable.toWeb(bounded), { status, statusText, headers: said });
};
