import { createHash, verify } from 'node:crypto';
import { GcpError } from './errors.ts';
import type { Call } from './server.ts';
import type { ServiceAccount } from './state.ts';

/** Google's own maximum of a V4 signature. */
const expiresSecondsMax = 604_800;
const skewMs = 900_000;
const mismatch = () => new GcpError(403, 'SignatureDoesNotMatch');
const malformed = (what: string) => new GcpError(400, 'InvalidArgument', what);

/** Verifies a V4 signature over method, path, whole query and signed headers; answers whose it is. */
export function verifySignedRequest(call: Call): ServiceAccount {
  const { request, state, now, url, trace } = call;
  const query = [...url.searchParams];
  const value = (name: string) => {
    const found = query.filter(([one]) => one === name);
    if (found.length !== 1) throw malformed(name);
    return found[0]?.[1] ?? '';
  };
  trace.issuance = url.searchParams.get('x-mayfly-issuance');
  if (value('X-Goog-Algorithm') !== 'GOOG4-RSA-SHA256') throw malformed('X-Goog-Algorithm');
  const [, email = '', scope = ''] =
    /^([^/]+)\/([0-9]{8}\/[a-z0-9-]+\/storage\/goog4_request)$/.exec(value('X-Goog-Credential')) ?? [];
  const time = value('X-Goog-Date');
  const begin = parseTime(time);
  if (scope.slice(0, 8) !== time.slice(0, 8)) throw malformed('X-Goog-Credential');
  const expires = value('X-Goog-Expires');
  if (!/^[0-9]{1,6}$/.test(expires) || Number(expires) > expiresSecondsMax) throw malformed('X-Goog-Expires');
  const account = state.accounts.get(email);
  if (account === undefined) throw mismatch();
  trace.principal = email;
  const names = value('X-Goog-SignedHeaders');
  const signature = Buffer.from(value('X-Goog-Signature'), 'hex');
  // Google has no port. On loopback its library signs the host without it, HTTP says with it.
  const hosts = [request.headers.host ?? '', url.hostname];
  const fits = hosts.some((host) => {
    const canonical = canonicalOf(call, { query, names: names.split(';'), host });
    const digest = createHash('sha256').update(canonical).digest('hex');
    const signed = ['GOOG4-RSA-SHA256', time, scope, digest].join('\n');
    return verify('sha256', Buffer.from(signed), account.publicKey, signature);
  });
  if (!fits) throw mismatch();
  refuseUnsigned(request.headers, names.split(';'));
  if (now.getTime() < begin - skewMs) throw new GcpError(403, 'AccessDenied', 'not yet');
  if (now.getTime() >= begin + Number(expires) * 1000) throw new GcpError(400, 'ExpiredToken');
  return account;
}

interface Signed {
  readonly query: readonly (readonly [string, string])[];
  readonly names: readonly string[];
  readonly host: string;
}

function canonicalOf({ request, url }: Call, { query, names, host }: Signed): string {
  if (!names.includes('host')) throw malformed('host is not signed');
  const sent: Readonly<Record<string, unknown>> = { ...request.headers, host };
  const headers = names.map((name) => `${name}:${String(sent[name] ?? '').trim()}`);
  const pairs = query
    .filter(([name]) => name !== 'X-Goog-Signature')
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    request.method,
    url.pathname
      .split('/')
      .map((one) => encode(decodeURIComponent(one)))
      .join('/'),
    pairs.map((pair) => pair.join('=')).join('&'),
    ...headers,
    '',
    names.join(';'),
    request.headers['x-goog-content-sha256'] ?? 'UNSIGNED-PAYLOAD',
  ].join('\n');
}

// A header such as x-goog-copy-source would make another request of it.
function refuseUnsigned(headers: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  const unsigned = Object.keys(headers).find((name) => name.startsWith('x-goog-') && !names.includes(name));
  if (unsigned !== undefined) throw new GcpError(403, 'AccessDenied', `${unsigned} is not signed`);
}

function parseTime(text: string): number {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(time)) throw malformed('X-Goog-Date');
  return time;
}

function encode(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9._~-]/.test(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}
