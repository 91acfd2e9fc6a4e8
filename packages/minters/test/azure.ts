import type { Minter, MintRequest, Provider } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import {
  type AzureStandin,
  type Certificate,
  type LocalIssuer,
  selfSigned,
  startAzure,
  startIssuer,
  trust,
} from '@mayfly/standins';
import type { MinterServices } from '../src/services.ts';
import { MemoryDenyStore } from './deny-store.ts';
import { awsRequest } from './plans.ts';

export const tenant = '6f0d9c1e-2b7a-4c8e-9a43-1d2e3f4a5b6c';
export const [client, otherClient] = [
  '3b1c4c66-5a51-4b4d-8f5c-0f1f2a3b4c5d',
  '4c2d5d77-6b62-4c5e-9a6d-1a2b3c4d5e6f',
] as const;
export const blob = 'https://invoices.blob.core.windows.net/reports/2026q3/a.pdf';
export const directory = 'https://invoices.blob.core.windows.net/reports/2026q3/';

export function azureProvider(spec: Readonly<Record<string, unknown>> = {}): Provider {
  const accounts = ['invoices', 'archive'];
  const plain = { type: 'azure', tenant, clients: [client, otherClient], accounts, correlationId: true };
  return { name: 'prod-azure', type: 'azure', spec: { ...plain, ...spec } };
}

export function blobRequest(more: Partial<MintRequest> = {}): MintRequest {
  return awsRequest({
    tool: 'blob.read',
    identifier: blob,
    actions: ['read'],
    access: 'blob.object',
    mint: { provider: 'prod-azure', access: 'blob.object' },
    provider: azureProvider(),
    ...more,
  });
}

export function directoryRequest(more: Partial<MintRequest> = {}): MintRequest {
  const mint = { provider: 'prod-azure', access: 'blob.directory' };
  return blobRequest({
    identifier: directory,
    actions: ['read', 'list'],
    access: 'blob.directory',
    mint,
    ...more,
  });
}

/** For tests only: the stand-in Azure with two apps and some blobs, and what the minter needs of a broker. */
export interface AzureCloud {
  readonly azure: AzureStandin;
  readonly provider: Provider;
  readonly options: MinterServices;
  /** Audiences of the assertions that were signed, in order. */
  readonly signed: string[];
  now(): Date;
  advance(seconds: number): void;
  request(more?: Partial<MintRequest>): MintRequest;
  directory(more?: Partial<MintRequest>): MintRequest;
  /** Mints what was asked for: the URL with its SAS. */
  url(minter: Minter, request: MintRequest): Promise<string>;
  context(signal?: AbortSignal): { now: Date; signal: AbortSignal };
  calls(operation: string): number;
  close(): Promise<void>;
}

const subject = 'mayfly:prod-azure:mint';
const names = ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf', '2026q33/a.pdf', 'a.pdf'];

export async function startAzureCloud(
  certificate: Certificate = selfSigned(),
  given?: LocalIssuer,
): Promise<AzureCloud> {
  trust(certificate);
  let offsetMs = 0;
  const now = () => new Date(Date.now() + offsetMs);
  const issuer = given ?? (await startIssuer());
  const azure = await startAzure({ certificate, now });
  for (const account of ['invoices', 'archive']) {
    azure.createAccount(account, { hierarchical: true });
    for (const container of ['reports', 'payroll'])
      for (const name of names) azure.putBlob(account, `${container}/${name}`, name);
  }
  const rights = ['read', 'list', 'create', 'write', 'delete', 'delegate'] as const;
  const app = () =>
    azure.createApp({
      issuer: issuer.issuer,
      subject,
      assignments: [
        { account: 'invoices', rights },
        { account: 'archive', rights },
      ],
    });
  const endpoints = { authority: azure.url, blob: azure.url };
  const provider = azureProvider({ tenant: azure.tenant, clients: [app(), app()], endpoints });
  const signed: string[] = [];
  const options: MinterServices = {
    deny: new MemoryDenyStore(now),
    provider: (name) => (name === provider.name ? provider : undefined),
    now,
    report: () => undefined,
    federation: {
      sign: async ({ audience }) => {
        signed.push(audience);
        return issuer.assertion({ subject, audience, alg: 'RS256', lifetimeSeconds: 3600 });
      },
    },
  };
  const timed = () => ({
    provider,
    now: now(),
    notAfter: new Date((Math.floor(now().getTime() / 1000) + 60) * 1000),
    issuanceId: uuidV7(now().getTime(), crypto.getRandomValues(new Uint8Array(10))),
  });
  const context = (signal = AbortSignal.timeout(20_000)) => ({ now: now(), signal });
  return {
    azure,
    provider,
    options,
    signed,
    now,
    context,
    advance: (seconds) => {
      offsetMs += seconds * 1000;
    },
    request: (more = {}) => blobRequest({ ...timed(), ...more }),
    directory: (more = {}) => directoryRequest({ ...timed(), ...more }),
    url: async (minter, request) => (await minter.mint(minter.plan(request), context())).credential.reveal(),
    calls: (operation) => azure.ledger().filter((one) => one.operation === operation).length,
    close: async () => {
      await azure.close();
      if (given === undefined) await issuer.close();
    },
  };
}

/** What Storage answers to this URL: the status, and its own name of a refusal. */
export async function answerOf(url: string, method = 'GET'): Promise<string> {
  const init =
    method === 'PUT' ? { method, body: 'x', headers: { 'x-ms-blob-type': 'BlockBlob' } } : { method };
  const answer = await fetch(url, init);
  await answer.arrayBuffer();
  return [answer.status, answer.headers.get('x-ms-error-code')].filter((one) => one !== null).join(' ');
}

/** The same SAS at another name. */
export function moved(url: string, from: string, to: string): string {
  const [path = '', query = ''] = url.split('?');
  return `${path.replace(from, to)}?${query}`;
}
