import { Fault } from '@mayfly/core';

/** Time of one call to Entra or Storage, connecting included; the mint deadline cuts it for its own caller. */
export const answerTimeoutMs = 8_000;

/** A key, a token or an error fits ten times over. */
const answerBytesMax = 64 * 1024;

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One POST without retries or redirects, its answer read whole; a Fault that says whether something may have happened. */
export async function post(
  name: string,
  url: string,
  { headers, body, signal }: { headers: Record<string, string>; body: string; signal: AbortSignal },
): Promise<Answer> {
  try {
    const answer = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'error' });
    return { status: answer.status, text: await readBounded(answer) };
  } catch (cause) {
    const effect = neverSent(cause) ? 'none' : 'unknown';
    throw new Fault('provider_unavailable', { effect, detail: `${name}: no answer`, cause });
  }
}

/** Anything but success as a Fault; what the provider says of it stays out, since it may hold ids or secrets. */
export function refuseUnlessOk(name: string, { status }: Answer): void {
  if (status === 200) return;
  const detail = `${name}: ${status}`;
  // Asking again changes nothing: the identity, its role or the request is wrong.
  if ([400, 401, 403, 404, 409].includes(status))
    throw new Fault('provider_refused', { effect: 'none', detail });
  const answered = status >= 400 && status < 500;
  throw new Fault('provider_unavailable', { effect: answered ? 'none' : 'unknown', detail });
}

async function readBounded(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.byteLength;
    if (size > answerBytesMax) throw new TypeError('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function neverSent(cause: unknown): boolean {
  const code = Reflect.get(Object(Reflect.get(Object(cause), 'cause')), 'code');
  return ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'].includes(String(code));
}
