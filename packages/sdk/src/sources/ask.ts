import { sourceFailed } from './source.ts';

/** A platform's own service is next door; one that takes longer does not answer at all. */
const timeoutMs = 5_000;
/** A token of 16 KiB in JSON. */
const bodyBytesMax = 65_536;

/** GETs a small text from the platform's token service; no redirect, bounded time and size, no quoting of answers. */
export async function ask(
  url: URL,
  { source, headers }: { readonly source: string; readonly headers: Readonly<Record<string, string>> },
): Promise<{ readonly text: string; readonly headers: Headers }> {
  let answer: Response;
  try {
    answer = await fetch(url, { headers, redirect: 'error', signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    // Not handed on as cause: it may name the URL, which can hold more than an address.
    throw sourceFailed(source, `no answer (${nameOf(error)})`);
  }
  const text = await readBounded(answer, source);
  if (!answer.ok) throw sourceFailed(source, `answered ${answer.status}`);
  return { text, headers: answer.headers };
}

async function readBounded(answer: Response, source: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body ?? []) {
      size += chunk.length;
      if (size > bodyBytesMax) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw sourceFailed(source, `the answer broke off (${nameOf(error)})`);
  }
  if (size > bodyBytesMax) throw sourceFailed(source, 'the answer is too large');
  return Buffer.concat(chunks).toString('utf8');
}

function nameOf(error: unknown): string {
  const cause: unknown = Reflect.get(Object(error), 'cause');
  return String(Reflect.get(Object(cause), 'code') ?? Reflect.get(Object(error), 'name') ?? 'unknown');
}
