import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { AwsError } from './errors.ts';
import type { AwsState, Session } from './state.ts';

/** Who signed; `session` is absent for the account's root. */
export interface Principal {
  readonly session: Session | undefined;
  readonly accessKeyId: string;
  readonly service: string;
  /** From x-amz-date: `s3:signatureAge` counts from it. */
  readonly signedAt: Date;
  readonly authType: 'REST-HEADER' | 'REST-QUERY-STRING';
}

/** SigV4 holds for this long around the request's own time. */
const windowMs = 15 * 60_000;

interface Signed {
  readonly accessKeyId: string;
  readonly scope: readonly string[];
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly date: string;
  readonly token: string | undefined;
  readonly presigned: boolean;
  readonly expiresSeconds: number | undefined;
}

/**
 * Verifies a SigV4 request (header or presigned query) by signing it again with exactly its listed headers. The raw
 * path counts: a URL parser would normalise `/x/../a` into another key.
 */
export async function verifySignature(
  request: IncomingMessage,
  body: Buffer,
  { state, now }: { state: AwsState; now: Date },
): Promise<Principal> {
  const signed = readSignature(request);
  const [day = '', region = '', service = ''] = signed.scope;
  const signedAt = parseAmzDate(signed.date);
  checkWindow(signed, signedAt, now);
  const { secret, session } = findKey(signed, state, now);
  const expected = await signAgain(request, { signed, body, secret, region, service, signedAt });
  if (signed.date.slice(0, 8) !== day || !sameText(expected, signed.signature))
    throw new AwsError(
      'SignatureDoesNotMatch',
      403,
      'The request signature we calculated does not match the signature you provided.',
    );
  const authType = signed.presigned ? 'REST-QUERY-STRING' : 'REST-HEADER';
  return { session, accessKeyId: signed.accessKeyId, service, signedAt, authType };
}

function readSignature(request: IncomingMessage): Signed {
  const { authorization } = request.headers;
  const query = rawQuery(request);
  if (query.some(([name]) => name === 'Signature' || name === 'AWSAccessKeyId'))
    throw new AwsError('InvalidRequest', 400, 'Signature Version 2 is not supported.');
  if (authorization !== undefined) return fromHeader(authorization, request);
  const get = (name: string) => query.find(([key]) => key === name)?.[1];
  const credential = get('X-Amz-Credential');
  if (credential === undefined)
    throw new AwsError('MissingAuthenticationToken', 403, 'Request is missing Authentication Token');
  const [accessKeyId = '', ...scope] = credential.split('/');
  return {
    accessKeyId,
    scope,
    signedHeaders: (get('X-Amz-SignedHeaders') ?? '').split(';'),
    signature: get('X-Amz-Signature') ?? '',
    date: get('X-Amz-Date') ?? '',
    token: get('X-Amz-Security-Token'),
    presigned: true,
    expiresSeconds: Number(get('X-Amz-Expires') ?? '0'),
  };
}

function fromHeader(authorization: string, request: IncomingMessage): Signed {
  const [, credential = '', signedHeaders = '', signature = ''] =
    /^AWS4-HMAC-SHA256 Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})$/.exec(
      authorization,
    ) ?? [];
  if (credential === '') throw new AwsError('IncompleteSignature', 400, 'Authorization header is not SigV4');
  const [accessKeyId = '', ...scope] = credential.split('/');
  const token = request.headers['x-amz-security-token'];
  return {
    accessKeyId,
    scope,
    signedHeaders: signedHeaders.split(';'),
    signature,
    date: String(request.headers['x-amz-date'] ?? ''),
    token: typeof token === 'string' ? token : undefined,
    presigned: false,
    expiresSeconds: undefined,
  };
}

function checkWindow({ presigned, expiresSeconds }: Signed, signedAt: Date, now: Date): void {
  const age = now.getTime() - signedAt.getTime();
  if (Number.isNaN(age)) throw new AwsError('AccessDenied', 403, 'AWS authentication requires a valid Date');
  if (presigned && age > (expiresSeconds ?? 0) * 1000)
    throw new AwsError('AccessDenied', 403, 'Request has expired');
  if (!presigned && Math.abs(age) > windowMs) throw new AwsError('RequestTimeTooSkewed', 403);
}

function findKey(
  { accessKeyId, token }: Signed,
  state: AwsState,
  now: Date,
): { secret: string; session: Session | undefined } {
  if (accessKeyId === state.root.accessKeyId) return { secret: state.root.secret, session: undefined };
  const session = state.sessions.get(accessKeyId);
  if (session === undefined) throw new AwsError('InvalidAccessKeyId', 403);
  if (token === undefined || !sameText(token, session.token)) throw new AwsError('InvalidToken', 400);
  if (session.expiresAt <= now) throw new AwsError('ExpiredToken', 400, 'The provided token has expired.');
  return { secret: session.secret, session };
}

interface Again {
  readonly signed: Signed;
  readonly body: Buffer;
  readonly secret: string;
  readonly region: string;
  readonly service: string;
  readonly signedAt: Date;
}

async function signAgain(request: IncomingMessage, again: Again): Promise<string> {
  const { signed, body, secret, region, service, signedAt } = again;
  const s3 = service === 's3';
  const headers: Record<string, string> = {};
  for (const name of signed.signedHeaders) headers[name] = String(request.headers[name] ?? '');
  if (headers['host'] === undefined) throw new AwsError('SignatureDoesNotMatch', 403, 'host must be signed');
  const stated = String(
    request.headers['x-amz-content-sha256'] ?? (signed.presigned ? 'UNSIGNED-PAYLOAD' : ''),
  );
  const hash = createHash('sha256').update(body).digest('hex');
  if (/^[0-9a-f]{64}$/.test(stated) && stated !== hash) throw new AwsError('XAmzContentSHA256Mismatch', 400);
  if (s3) headers['x-amz-content-sha256'] = stated;
  const signer = new SignatureV4({
    credentials: { accessKeyId: signed.accessKeyId, secretAccessKey: secret },
    region,
    service,
    sha256: Sha256,
    uriEscapePath: !s3,
    applyChecksum: false,
  });
  const { path, query } = target(request, signed.presigned);
  const message = {
    method: request.method ?? 'GET',
    protocol: 'http:',
    hostname: headers['host'] ?? '',
    path,
    query,
    headers,
    body: s3 ? undefined : body,
  };
  const signableHeaders = new Set(signed.signedHeaders);
  const options = { signingDate: signedAt, signableHeaders, unsignableHeaders: new Set<string>() };
  if (signed.presigned) {
    const unsignable = {
      unsignableHeaders: new Set(['x-amz-content-sha256']),
      unhoistableHeaders: signableHeaders,
    };
    const presigned = await signer.presign(message, {
      ...options,
      ...unsignable,
      expiresIn: signed.expiresSeconds ?? 0,
    });
    return String(presigned.query?.['X-Amz-Signature']);
  }
  const answer = await signer.sign({ ...message, headers: without(headers, 'authorization') }, options);
  return answer.headers['authorization']?.split('Signature=')[1] ?? '';
}

function target(
  request: IncomingMessage,
  presigned: boolean,
): { path: string; query: Record<string, string | string[]> } {
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const query: Record<string, string | string[]> = {};
  for (const [name, value] of rawQuery(request)) {
    if (presigned && name.startsWith('X-Amz-') && name !== 'X-Amz-Security-Token') continue;
    if (presigned && name === 'X-Amz-Security-Token') query[name] = value;
    const before = query[name];
    query[name] =
      before === undefined || presigned ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  const raw = mark < 0 ? url : url.slice(0, mark);
  return { path: raw, query };
}

function rawQuery(request: IncomingMessage): [string, string][] {
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  if (mark < 0) return [];
  return url
    .slice(mark + 1)
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      const name = equals < 0 ? part : part.slice(0, equals);
      const value = equals < 0 ? '' : part.slice(equals + 1);
      return [decode(name), decode(value)];
    });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AwsError('InvalidURI', 400);
  }
}

function without(headers: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
}

function parseAmzDate(text: string): Date {
  return new Date(text.replace(/^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/, '$1-$2-$3T$4:$5:$6Z'));
}

function sameText(left: string, right: string): boolean {
  const [a, b] = [createHash('sha256').update(left).digest(), createHash('sha256').update(right).digest()];
  return timingSafeEqual(a, b);
}
