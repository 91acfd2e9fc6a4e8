import type { IncomingHttpHeaders } from 'node:http';
import { Refusal } from '@mayfly/core';
import { isStorableText } from '@mayfly/protocol';
import type { Request } from 'express';
import { type CertificateOptions, clientCertificate } from '../proof/certificate.ts';

/** A request within its limits: what a handler may look at. */
export interface RawRequest {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
  /** SHA-256 of the client certificate, base64url; null without one. */
  readonly certificate: string | null;
}

export interface RequestLimits {
  readonly bodyMax: number;
  /** The only media type accepted, where there is one. */
  readonly bodyType?: string | undefined;
  readonly certificates: CertificateOptions;
}

/** Reads the whole request, or a Refusal: unsupported_media_type, body_too_large, request_timeout. */
export async function readRequest(
  request: Request,
  { bodyMax, bodyType, certificates }: RequestLimits,
): Promise<RawRequest> {
  if (bodyType !== undefined && mediaType(request.headers) !== bodyType)
    throw new Refusal('unsupported_media_type');
  const url = request.originalUrl;
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  for (const [name, value] of query)
    if (!isStorableText(name) || !isStorableText(value))
      throw new Refusal('malformed_request', { detail: 'query' });
  return {
    id: requestId(request),
    method: request.method,
    path: request.path,
    params: Object.fromEntries(Object.entries(request.params).map(([name, value]) => [name, String(value)])),
    query,
    headers: request.headers,
    certificate: clientCertificate(request, certificates),
    body: await readBody(request, bodyMax),
  };
}

/** Without parameters and in small letters: a media type knows no case (RFC 9110 section 8.3.1). */
export function mediaType(headers: IncomingHttpHeaders): string | undefined {
  return headers['content-type']?.split(';')[0]?.trim().toLowerCase();
}

/** The body within its limit; a longer one is refused before it is held. */
async function readBody(request: Request, bodyMax: number): Promise<Uint8Array> {
  const announced = Number.parseInt(request.headers['content-length'] ?? '0', 10);
  if (announced > bodyMax) throw new Refusal('body_too_large');
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request) {
      if (!Buffer.isBuffer(chunk)) continue;
      size += chunk.length;
      if (size > bodyMax) throw new Refusal('body_too_large');
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    // The client went away or was too slow: server.ts has answered its socket, if it was still there.
    throw new Refusal('request_timeout', { detail: 'the body was not received', cause });
  }
  return Buffer.concat(chunks);
}

const ids = new WeakMap<Request, string>();

/** One id a request, in its log lines, its audit rows and its answer. */
export function requestId(request: Request): string {
  const known = ids.get(request);
  if (known !== undefined) return known;
  const made = crypto.randomUUID();
  ids.set(request, made);
  return made;
}
