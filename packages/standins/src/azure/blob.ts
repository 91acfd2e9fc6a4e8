import { AzureError } from './error.ts';
import { denied, type Target, verifySas } from './sas.ts';
import { type Account, type App, type BlobRight, type KeyFields, keyValue } from './state.ts';

const keySecondsMax = 7 * 86_400;

export interface BlobRequest {
  readonly method: string;
  readonly url: URL;
  readonly body: Buffer;
  readonly tenant: string;
  readonly now: Date;
  /** Holder of the bearer token; undefined: there is none, and a SAS must be. */
  readonly caller: App | undefined;
  readonly apps: ReadonlyMap<string, App>;
  readonly account: Account;
}

export interface BlobAnswer {
  readonly status: number;
  readonly body: string | Buffer;
  readonly type: 'application/xml' | 'application/octet-stream';
  readonly principal: string | null;
}

/** Get User Delegation Key: whoever may delegate gets a key that acts as itself, for seven days at most. */
export function giveKey({ body, tenant, now, caller, account }: BlobRequest, lieSeconds: number): BlobAnswer {
  if (caller === undefined) throw new AzureError('NoAuthenticationInformation', 401);
  const may = caller.assignments.some(
    (one) => one.account === account.name && one.container === undefined && one.rights.includes('delegate'),
  );
  if (!may) throw denied('AuthorizationPermissionMismatch');
  const xml = body.toString('utf8');
  const of = (name: string) => new RegExp(`<${name}>([^<]+)</${name}>`).exec(xml)?.[1] ?? '';
  const [start, expiry] = [Date.parse(of('Start')), Date.parse(of('Expiry'))];
  const seconds = (expiry - now.getTime()) / 1000;
  if (!(start < expiry) || !(seconds > 0) || seconds > keySecondsMax)
    throw new AzureError('InvalidXmlDocument', 400);
  const key: KeyFields = {
    objectId: caller.objectId,
    tenantId: tenant,
    startsOn: secondOf(start),
    expiresOn: secondOf(expiry + lieSeconds * 1000),
    service: 'b',
    version: '2023-11-03',
  };
  const value = keyValue(account, key);
  const element = (name: string, text: string) => `<${name}>${text}</${name}>`;
  const text = [
    '<?xml version="1.0" encoding="utf-8"?><UserDelegationKey>',
    ...[element('SignedOid', key.objectId), element('SignedTid', key.tenantId)],
    ...[element('SignedStart', key.startsOn), element('SignedExpiry', key.expiresOn)],
    ...[element('SignedService', key.service), element('SignedVersion', key.version)],
    ...[element('Value', value), '</UserDelegationKey>'],
  ].join('');
  return { status: 200, body: text, type: 'application/xml', principal: caller.objectId };
}

/** One blob read, written or deleted, or a listing; allowed by the caller's own roles, or by a SAS within its signer's. */
export function serveBlob(request: BlobRequest): BlobAnswer {
  const target = targetOf(request);
  const principal = authorize(request, target);
  const path = `${target.container}/${target.name}`;
  const { blobs } = request.account;
  const found = blobs.get(path);
  const octets = (status: number, body: string | Buffer): BlobAnswer => ({
    ...{ status, body, principal },
    type: 'application/octet-stream',
  });
  if (target.right === 'list') {
    const inside = [...blobs.keys()].filter((one) => one.startsWith(path)).sort();
    const entries = inside.map(
      (one) => `<Blob><Name>${one.slice(target.container.length + 1)}</Name></Blob>`,
    );
    const body = `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>${entries.join('')}</Blobs><NextMarker /></EnumerationResults>`;
    return { status: 200, body, type: 'application/xml', principal };
  }
  if (target.right === 'create' || target.right === 'write') {
    blobs.set(path, request.body);
    return octets(201, '');
  }
  if (found === undefined) throw new AzureError('BlobNotFound', 404);
  if (target.right === 'read') return octets(200, found);
  blobs.delete(path);
  return octets(202, '');
}

/** `/ACCOUNT/CONTAINER/NAME`, as an emulator is addressed; a PUT of what is there already is a write, else a creation. */
export function targetOf({ method, url, account }: Pick<BlobRequest, 'method' | 'url' | 'account'>): Target {
  const [, , container = '', ...rest] = decodeURIComponent(url.pathname).split('/');
  const name = rest.join('/');
  const query = url.searchParams;
  if (method === 'GET' && name === '' && query.get('comp') === 'list')
    return { account, container, name: query.get('prefix') ?? '', right: 'list' };
  const rights: Readonly<Record<string, BlobRight>> = {
    GET: 'read',
    HEAD: 'read',
    PUT: account.blobs.has(`${container}/${name}`) ? 'write' : 'create',
    DELETE: 'delete',
  };
  const right = rights[method];
  if (right === undefined || name === '' || query.has('comp'))
    throw new AzureError('UnsupportedHttpVerb', 405);
  return { account, container, name, right };
}

function authorize({ url, tenant, now, caller, apps }: BlobRequest, target: Target): string {
  const signed = ['sig', 'sv'].some((name) => url.searchParams.has(name));
  if (caller === undefined && !signed) throw new AzureError('NoAuthenticationInformation', 401);
  const principal = caller?.objectId ?? verifySas(url.searchParams, { target, tenant, now });
  const who = [...apps.values()].find(({ objectId }) => objectId === principal);
  // A SAS never gives more than its signer may: roles are looked at when it is used.
  const may = who?.assignments.some(
    ({ account, container, rights }) =>
      account === target.account.name &&
      (container === undefined || container === target.container) &&
      rights.includes(target.right),
  );
  if (may !== true) throw denied('AuthorizationPermissionMismatch');
  return principal;
}

function secondOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
