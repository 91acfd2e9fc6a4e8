import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { generateKeyPair } from 'jose';
import { type FaultPlan, Faults } from '../aws/faults.ts';
import { type Certificate, selfSigned } from '../tls/self-signed.ts';
import { type BlobAnswer, giveKey, serveBlob } from './blob.ts';
import { type Authority, discovery, grantToken, holderOf } from './entra.ts';
import { AzureError } from './error.ts';
import { type Account, type App, type Assignment, type AzureRecord, newAccount } from './state.ts';

const bodyBytesMax = 16 * 1024 * 1024;
/** How much longer a key lives than was asked for, when told to lie. */
const lieSeconds = 3600;

export interface AzureOptions {
  readonly port?: number;
  readonly now?: () => Date;
  readonly latencyMs?: number;
  /** Its own authority, which clients must trust: Entra and SAS are https only. */
  readonly certificate?: Certificate;
}

export interface AzureStandin {
  /** Authority host and blob endpoint in one; accounts are its first path segment. */
  readonly url: string;
  readonly certificate: Certificate;
  readonly tenant: string;
  readonly faults: Faults;
  /** Settles once a call is held. */
  readonly holding: Promise<void>;
  ledger(sinceSeq?: number): readonly AzureRecord[];
  /** An app with one federated credential; its client id. */
  createApp(app: { issuer: string; subject: string; assignments: readonly Assignment[] }): string;
  createAccount(name: string, options?: { hierarchical?: boolean }): void;
  putBlob(account: string, path: string, body: string): void;
  /** As `az storage account revoke-delegation-keys`: every user delegation SAS of the account is dead. */
  revokeUserDelegationKeys(account: string): void;
  close(): Promise<void>;
}

interface World {
  readonly authority: Authority & { readonly apps: Map<string, App> };
  readonly accounts: Map<string, Account>;
  readonly records: AzureRecord[];
  readonly faults: Faults;
  readonly options: AzureOptions;
  held: PromiseWithResolvers<void>;
  now(): Date;
}

/** Entra and Blob Storage of one tenant on one loopback port over https, for unmodified clients. */
export async function startAzure(options: AzureOptions = {}): Promise<AzureStandin> {
  const keys = await generateKeyPair('RS256');
  const world: World = {
    authority: { tenant: randomUUID(), apps: new Map(), keys },
    accounts: new Map(),
    records: [],
    faults: new Faults(),
    options,
    held: Promise.withResolvers(),
    now: options.now ?? (() => new Date()),
  };
  const certificate = options.certificate ?? selfSigned();
  const server = createServer(certificate, (request, response) => {
    serve(request, response, world).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `https://127.0.0.1:${port}`,
    certificate,
    tenant: world.authority.tenant,
    faults: world.faults,
    get holding() {
      return world.held.promise;
    },
    ledger: (since = 0) => world.records.slice(since),
    createApp: (app) => {
      const clientId = randomUUID();
      world.authority.apps.set(clientId, { clientId, objectId: randomUUID(), ...app });
      return clientId;
    },
    createAccount: (name, { hierarchical = false } = {}) =>
      void world.accounts.set(name, newAccount(name, hierarchical)),
    putBlob: (account, path, body) => void accountOf(world, account).blobs.set(path, Buffer.from(body)),
    revokeUserDelegationKeys: (account) => {
      accountOf(world, account).keyGeneration += 1;
    },
    close: () =>
      new Promise((resolve) => {
        world.faults.clear();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Call {
  readonly operation: string;
  readonly url: URL;
  readonly request: IncomingMessage;
  readonly body: Buffer;
  readonly lie: FaultPlan['mode'] | undefined;
}

interface Outcome {
  readonly status: number;
  readonly body: string | Buffer;
  readonly type: string;
  readonly principal: string | null;
  readonly error: string | null;
}

async function serve(request: IncomingMessage, response: ServerResponse, world: World): Promise<void> {
  const body = await readBody(request);
  const url = new URL(request.url ?? '/', `https://${request.headers.host}`);
  const operation = operationOf(request, url);
  if (world.options.latencyMs !== undefined) await delay(world.options.latencyMs);
  const fault = world.faults.take(operation);
  const mode = fault?.plan.mode;
  if (mode === 'cut') return void response.destroy();
  if (mode === 'hold') {
    world.held.resolve();
    world.held = Promise.withResolvers();
    await fault?.released;
  }
  const refusal = (): Outcome =>
    failure(new AzureError(fault?.plan.code ?? 'InternalError', fault?.plan.status ?? 500), operation);
  const call = { operation, url, request, body, lie: mode };
  const outcome = mode === 'refuse' ? refusal() : await run(call, world);
  if (mode !== 'refuse') record(call, outcome, world);
  if (mode === 'applied_and_cut') return void response.destroy();
  const { status, type, body: said, error } = mode === 'applied_and_failed' ? refusal() : outcome;
  const code = error === null || type === 'application/json' ? {} : { 'x-ms-error-code': error };
  // The download of the unmodified client insists on these.
  const blob = type === 'application/octet-stream' ? { etag: '"0x1"', 'x-ms-blob-type': 'BlockBlob' } : {};
  response
    .writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(said), ...code, ...blob })
    .end(request.method === 'HEAD' ? undefined : said);
}

function operationOf({ method = '' }: IncomingMessage, { pathname, searchParams }: URL): string {
  if (pathname.endsWith('/.well-known/openid-configuration')) return 'Discovery';
  if (pathname.endsWith('/oauth2/v2.0/token')) return 'Token';
  if (searchParams.get('comp') === 'userdelegationkey') return 'GetUserDelegationKey';
  if (searchParams.get('comp') === 'list') return 'ListBlobs';
  const names: Readonly<Record<string, string>> = {
    GET: 'GetBlob',
    HEAD: 'GetBlobProperties',
    PUT: 'PutBlob',
    DELETE: 'DeleteBlob',
  };
  return names[method] ?? 'Other';
}

async function run(call: Call, world: World): Promise<Outcome> {
  const { operation, url, body } = call;
  const { authority } = world;
  const json = (value: unknown, principal: string | null): Outcome => ({
    ...{ status: 200, body: JSON.stringify(value), type: 'application/json', principal, error: null },
  });
  try {
    if (operation === 'Discovery' || operation === 'Token') {
      if (url.pathname.split('/')[1] !== authority.tenant) throw new AzureError('AADSTS90002', 400);
      if (operation === 'Discovery') return json(discovery(url.origin, authority), null);
      const form = new URLSearchParams(body.toString('utf8'));
      const { app, answer } = await grantToken(form, { authority, now: world.now() });
      return json(answer, app.objectId);
    }
    return { ...(await serveStorage(call, world)), error: null };
  } catch (cause) {
    return failure(cause instanceof AzureError ? cause : new AzureError('InternalError', 500), operation);
  }
}

async function serveStorage({ operation, url, request, body, lie }: Call, world: World): Promise<BlobAnswer> {
  const { authority } = world;
  const now = world.now();
  const [, token] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? [];
  const caller = token === undefined ? undefined : await holderOf(token, { authority, now });
  const storage = {
    ...{ method: request.method ?? '', url, body, tenant: authority.tenant, now, caller },
    apps: authority.apps,
    account: accountOf(world, url.pathname.split('/')[1] ?? ''),
  };
  if (operation !== 'GetUserDelegationKey') return serveBlob(storage);
  const answer = giveKey(storage, lie === 'lie_longer' ? lieSeconds : 0);
  if (lie !== 'lie_identity') return answer;
  return { ...answer, body: answer.body.toString().replaceAll(authority.tenant, randomUUID()) };
}

function accountOf({ accounts }: World, name: string): Account {
  const account = accounts.get(name);
  if (account === undefined) throw new AzureError('ResourceNotFound', 404);
  return account;
}

function failure({ code, status }: AzureError, operation: string): Outcome {
  const entra = operation === 'Discovery' || operation === 'Token';
  const error = status === 400 ? 'invalid_request' : status < 500 ? 'invalid_client' : 'server_error';
  const body = entra
    ? JSON.stringify({
        error,
        error_description: `${code}: refused`,
        error_codes: [Number(code.slice(6)) || 0],
      })
    : `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>refused</Message></Error>`;
  return { status, body, type: entra ? 'application/json' : 'application/xml', principal: null, error: code };
}

function record({ operation, url }: Call, { status, principal, error }: Outcome, world: World): void {
  const [, account = '', ...rest] = url.pathname.split('/');
  const storage = world.accounts.has(account);
  world.records.push({
    seq: world.records.length + 1,
    at: world.now().toISOString(),
    operation,
    account: storage ? account : null,
    resource: storage ? rest.join('/') : null,
    principal: principal ?? url.searchParams.get('skoid'),
    correlationId: url.searchParams.get('scid'),
    status,
    error,
  });
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > bodyBytesMax) throw new AzureError('RequestBodyTooLarge', 413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
