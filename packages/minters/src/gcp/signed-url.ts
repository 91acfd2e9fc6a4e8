import { createHash } from 'node:crypto';
import type { GcsTarget } from './target.ts';

/** What one URL is good for. */
export interface SignedRequest extends GcsTarget {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** Signed request headers beside `host`, lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly host: string;
  readonly serviceAccount: string;
  /** Whole seconds. */
  readonly from: Date;
  readonly lifeSeconds: number;
  /** Bare id: rides in the signed query and so into the bucket's own log. */
  readonly issuance: string;
}

/** V4 canonical request of a URL without a body digest (Cloud Storage, "Canonical requests"). */
export function canonicalRequest(request: SignedRequest): string {
  const headers = Object.entries({ ...request.headers, host: request.host }).sort(byName);
  const names = headers.map(([name]) => name).join(';');
  const time = basicTime(request.from);
  const query = Object.entries({
    'X-Goog-Algorithm': 'GOOG4-RSA-SHA256',
    'X-Goog-Credential': `${request.serviceAccount}/${scopeOf(time)}`,
    'X-Goog-Date': time,
    'X-Goog-Expires': String(request.lifeSeconds),
    'X-Goog-SignedHeaders': names,
    'x-mayfly-issuance': request.issuance,
  })
    .sort(byName)
    .map(([name, value]) => `${percent(name)}=${percent(value)}`);
  return [
    request.method,
    `/${request.bucket}/${request.object.split('/').map(percent).join('/')}`,
    query.join('&'),
    ...headers.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    'UNSIGNED-PAYLOAD',
  ].join('\n');
}

/** What the service account signs for it. */
export function stringToSign(canonical: string): string {
  const time = /X-Goog-Date=([0-9TZ]+)/.exec(canonical)?.[1] ?? '';
  const digest = createHash('sha256').update(canonical).digest('hex');
  return ['GOOG4-RSA-SHA256', time, scopeOf(time), digest].join('\n');
}

export function signedUrl(endpoint: string, canonical: string, signature: Uint8Array): string {
  const [, path = '', query = ''] = canonical.split('\n');
  return `${endpoint}${path}?${query}&X-Goog-Signature=${Buffer.from(signature).toString('hex')}`;
}

function scopeOf(time: string): string {
  return `${time.slice(0, 8)}/auto/storage/goog4_request`;
}

/** `20261123T120000Z`. */
function basicTime(at: Date): string {
  return at.toISOString().replace(/[-:]|\.\d{3}/g, '');
}

/** RFC 3986: all but unreserved characters. */
function percent(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1;
}
