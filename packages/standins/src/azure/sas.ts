import { createHmac, timingSafeEqual } from 'node:crypto';
import { AzureError } from './error.ts';
import { type Account, type BlobRight, type KeyFields, keyValue } from './state.ts';

/** What a request would do to which name; for a listing the name is its prefix. */
export interface Target {
  readonly account: Account;
  readonly container: string;
  readonly name: string;
  readonly right: BlobRight;
}

/** Versions that share the string to sign implemented here; another one is refused, not guessed. */
const [firstVersion, nextVersion] = ['2020-12-06', '2025-07-05'];

const letterFor: Readonly<Record<BlobRight, readonly string[]>> = {
  read: ['r'],
  list: ['l'],
  // An absent blob is made with either.
  create: ['c', 'w'],
  write: ['w'],
  delete: ['d'],
};
const lettersInOrder = /^r?a?c?w?d?x?y?l?t?m?e?o?p?$/;
const signedHeaders = ['rscc', 'rscd', 'rsce', 'rscl', 'rsct'];
/** In the order of the string to sign, with an optional signer of its own and a policy that is never one's of a key. */
const names = new Set([
  ...['sp', 'st', 'se', 'skoid', 'sktid', 'skt', 'ske', 'sks', 'skv', 'saoid', 'suoid', 'scid'],
  ...['sip', 'spr', 'sv', 'sr', 'ses', 'sdd', 'sig', ...signedHeaders],
]);

/** Object id of the principal whose key signed, once the SAS is proven to open this target now. */
export function verifySas(
  query: URLSearchParams,
  { target, tenant, now }: { target: Target; tenant: string; now: Date },
): string {
  for (const name of names) if (query.getAll(name).length > 1) throw denied('AuthenticationFailed');
  const of = (name: string) => query.get(name) ?? '';
  if (of('sv') < firstVersion || of('sv') >= nextVersion) throw denied('AuthenticationFailed');
  const key: KeyFields = {
    objectId: of('skoid'),
    tenantId: of('sktid'),
    startsOn: of('skt'),
    expiresOn: of('ske'),
    service: of('sks'),
    version: of('skv'),
  };
  if (key.tenantId !== tenant || key.service !== 'b') throw denied('AuthenticationFailed');
  verifySignature(of, { key, target });
  if (!isWithin(now, of('st'), of('se')) || !isWithin(now, key.startsOn, key.expiresOn))
    throw denied('AuthenticationFailed');
  if (!['', 'https', 'https,http'].includes(of('spr'))) throw denied('AuthenticationFailed');
  if (!lettersInOrder.test(of('sp'))) throw denied('AuthenticationFailed');
  if (!letterFor[target.right].some((letter) => of('sp').includes(letter)))
    throw denied('AuthorizationPermissionMismatch');
  return key.objectId;
}

function verifySignature(
  of: (name: string) => string,
  { key, target }: { key: KeyFields; target: Target },
): void {
  const lines = [
    ...[of('sp'), of('st'), of('se'), signedResource(of('sr'), of('sdd'), target)],
    ...[key.objectId, key.tenantId, key.startsOn, key.expiresOn, key.service, key.version],
    ...[of('saoid'), of('suoid'), of('scid'), of('sip'), of('spr'), of('sv'), of('sr'), '', of('ses')],
    ...signedHeaders.map(of),
  ];
  const value = Buffer.from(keyValue(target.account, key), 'base64');
  const expected = createHmac('sha256', value).update(lines.join('\n')).digest('base64');
  // As text: a decoder would forgive what stands after the padding.
  const [ours, given] = [Buffer.from(expected), Buffer.from(of('sig'))];
  if (ours.length !== given.length || !timingSafeEqual(ours, given)) throw denied('AuthenticationFailed');
}

/** Of the name that is asked for, as much as the SAS claims to be for: another name gives another signature. */
function signedResource(sr: string, sdd: string, { account, container, name, right }: Target): string {
  const base = `/blob/${account.name}/${container}`;
  if (sr === 'b' && right !== 'list') return `${base}/${name}`;
  if (sr !== 'd' || !account.hierarchical || !/^[1-9][0-9]?$/.test(sdd)) throw denied('AuthenticationFailed');
  const segments = name.split('/');
  // The directory itself is not below itself; a listing of it ends in the slash after it.
  if (segments.length <= Number(sdd)) throw denied('AuthenticationFailed');
  return `${base}/${segments.slice(0, Number(sdd)).join('/')}`;
}

function isWithin(now: Date, start: string, end: string): boolean {
  const began = start === '' || Date.parse(start) <= now.getTime();
  return began && now.getTime() < Date.parse(end);
}

export function denied(code: string): AzureError {
  return new AzureError(code, 403);
}
