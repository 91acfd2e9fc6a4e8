import type { MintPlan } from '@mayfly/core';
import { uuidTime } from '@mayfly/protocol';
import type { Allowed } from './check.ts';

/** Which verb a signed request does, and what it needs at Google. */
const verbs: ReadonlyMap<string, { readonly action: string; readonly permissions: readonly string[] }> =
  new Map([
    ['GET host', { action: 'read', permissions: ['storage.objects.get'] }],
    ['PUT host;x-goog-if-generation-match', { action: 'create', permissions: ['storage.objects.create'] }],
    ['PUT host', { action: 'write', permissions: ['storage.objects.create', 'storage.objects.delete'] }],
    ['DELETE host', { action: 'delete', permissions: ['storage.objects.delete'] }],
  ]);

/** A request waits less for its mint than this; a URL that begins earlier or later is another request's. */
const beginSlackMs = 2_000;

interface Sent {
  readonly serviceAccount: string;
  readonly issuance: string;
  readonly canonicalRequest: string;
}

/** Takes a V4 canonical request apart, line by line, and proves that it is one method on the one object in the time. */
export function checkRequest(plan: MintPlan, sent: Sent, allowed: Allowed): string | null {
  const [method = '', path = '', query = '', ...rest] = sent.canonicalRequest.split('\n');
  const [payload, names = '', blank, ...headers] = rest.toReversed();
  if (payload !== 'UNSIGNED-PAYLOAD' || blank !== '') return 'request: not the known form';
  return (
    checkVerb(`${method} ${names}`, plan) ??
    checkHeaders(headers.toReversed(), names, allowed) ??
    checkPath(path, allowed) ??
    checkQuery(query, { plan, sent, names })
  );
}

function checkVerb(request: string, { actions, nativePermissions }: MintPlan): string | null {
  const verb = verbs.get(request);
  if (verb === undefined || actions.length !== 1 || actions[0] !== verb.action)
    return 'method and headers are not those of the action';
  return JSON.stringify(nativePermissions) === JSON.stringify(verb.permissions)
    ? null
    : 'permissions are not those that are sent';
}

function checkHeaders(lines: readonly string[], names: string, { provider }: Allowed): string | null {
  const endpoint: unknown = Reflect.get(Object(provider.spec['endpoints']), 'storage');
  const { host } = new URL(typeof endpoint === 'string' ? endpoint : 'https://storage.googleapis.com');
  const expected = [`host:${host}`, 'x-goog-if-generation-match:0'].slice(0, names.split(';').length);
  return lines.join('\n') === expected.join('\n') ? null : 'headers are not those of the action';
}

function checkPath(path: string, { identifier }: Allowed): string | null {
  // A path that is not written as it was read has a second reading.
  if (!/^(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+$/.test(path)) return 'path is not in its one spelling';
  if (/%(?:2F|2D|2E|5F|7E|3[0-9]|[46][1-9A-F]|[57][0-9A])/.test(path))
    return 'path is not in its one spelling';
  return `gs:/${decode(path)}` === identifier ? null : 'path is not the one object asked for';
}

interface Query {
  readonly plan: MintPlan;
  readonly sent: Sent;
  readonly names: string;
}

function checkQuery(query: string, { plan, sent, names }: Query): string | null {
  const pairs = query.split('&').map((pair) => pair.split('='));
  if (pairs.some(({ length }) => length !== 2)) return 'query: not the known form';
  const [algorithm, credential, date, expires, signed, issuance, ...more] = pairs.map(
    ([name = '', value = '']) => [name, decode(value)] as const,
  );
  if (more.length > 0) return 'query: not the known form';
  const begin = parseBasic(date?.[1] ?? '');
  const scope = `${sent.serviceAccount}/${date?.[1].slice(0, 8)}/auto/storage/goog4_request`;
  if (!isPair(algorithm, 'X-Goog-Algorithm', 'GOOG4-RSA-SHA256')) return 'algorithm is not known';
  if (!isPair(credential, 'X-Goog-Credential', scope)) return 'credential is not the service account’s';
  if (!isPair(signed, 'X-Goog-SignedHeaders', names)) return 'signed headers are not those of the request';
  if (!isPair(issuance, 'x-mayfly-issuance', sent.issuance)) return 'the query does not name the issuance';
  if (date?.[0] !== 'X-Goog-Date' || expires?.[0] !== 'X-Goog-Expires') return 'query: not the known form';
  if (!/^[1-9][0-9]{0,3}$/.test(expires[1])) return 'expiry is not in its one spelling';
  if (!(Math.abs(begin - uuidTime(plan.issuanceId).getTime()) <= beginSlackMs))
    return 'begin is not the time of the exchange';
  return begin + Number(expires[1]) * 1000 === Date.parse(plan.notAfter)
    ? null
    : 'expiry is not the end of the plan';
}

function isPair(pair: readonly [string, string] | undefined, name: string, value: string): boolean {
  return pair?.[0] === name && pair[1] === value;
}

/** NaN for anything but `20261123T120000Z`. */
function parseBasic(text: string): number {
  const [, ...parts] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  const [year, month, day, hour, minute, second] = parts;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
