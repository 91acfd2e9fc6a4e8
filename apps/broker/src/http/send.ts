import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';
import type { Reply } from './errors.ts';

/** Every answer goes out here, so that its headers are right everywhere (RFC 6749 section 5.1). */
export async function send(response: Response, reply: Reply): Promise<void> {
  if (response.headersSent) return;
  const { status, body, headers = {}, contentType = 'application/json' } = reply;
  response.status(status);
  response.setHeader('cache-control', 'no-store');
  response.setHeader('pragma', 'no-cache');
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('content-type', contentType);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if ('cache-control' in headers) response.removeHeader('pragma');
  // A refused body may still be on its way: the connection is not reused.
  if (status === 413 || status === 408) response.setHeader('connection', 'close');
  if (isPieces(body)) await sendPieces(response, body);
  else response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

async function sendPieces(response: Response, pieces: AsyncIterable<string>): Promise<void> {
  try {
    await pipeline(Readable.from(pieces), response);
  } catch (error) {
    // The client stopped reading: nothing is left to be answered, and nothing went wrong here.
    if (Reflect.get(Object(error), 'code') !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  }
}

function isPieces(body: unknown): body is AsyncIterable<string> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
}
