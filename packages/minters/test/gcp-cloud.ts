import type { Minted, MintRequest, Provider } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { type GcpStandin, type LocalIssuer, startGcp, startIssuer } from '@mayfly/standins';
import type { MinterServices } from '../src/services.ts';
import { MemoryDenyStore } from './deny-store.ts';
import { awsRequest } from './plans.ts';

const pool = 'projects/123456789/locations/global/workloadIdentityPools/mayfly';
export const poolProvider = `${pool}/providers/broker`;
export const account = 'finance@acme-prod.iam.gserviceaccount.com';
export const otherAccount = 'other@acme-prod.iam.gserviceaccount.com';
export const object = 'gs://invoices/2026q3/a.pdf';
export const prefix = 'gs://invoices/2026q3/';
export const topic = '//pubsub.googleapis.com/projects/acme-prod/topics/invoices';

export function gcpProvider(spec: Readonly<Record<string, unknown>> = {}): Provider {
  const fixed = { workloadIdentityProvider: poolProvider, serviceAccounts: [account, otherAccount] };
  return { name: 'prod-gcp', type: 'gcp', spec: { type: 'gcp', ...fixed, ...spec } };
}

/** One object, at the golden clock. */
export function objectRequest(more: Partial<MintRequest> = {}): MintRequest {
  return awsRequest({
    tool: 'gcs.read',
    identifier: object,
    access: 'gcs.object',
    mint: { provider: 'prod-gcp', access: 'gcs.object' },
    provider: gcpProvider(),
    ...more,
  });
}

export function prefixRequest(more: Partial<MintRequest> = {}): MintRequest {
  const mint = { provider: 'prod-gcp', access: 'gcs.prefix' };
  return objectRequest({
    identifier: prefix,
    access: 'gcs.prefix',
    actions: ['read', 'list'],
    mint,
    ...more,
  });
}

export function unscopedRequest(more: Partial<MintRequest> = {}): MintRequest {
  const named = { serviceAccount: otherAccount, accept: 'unscoped' };
  const mint = { provider: 'prod-gcp', access: 'gcp.token', ...named };
  return objectRequest({ identifier: topic, access: 'gcp.token', actions: ['send'], mint, ...more });
}

/** The stand-in, set up as docs/clouds/gcp.md says, for one broker; its clock stands still until it is moved. */
export interface GcpCloud {
  readonly gcp: GcpStandin;
  readonly options: MinterServices;
  readonly assertions: string[];
  readonly reports: unknown[];
  now(): Date;
  advance(seconds: number): void;
  /** The clock stands at the present second, nothing is remembered, no fault is armed. */
  reset(): void;
  /** Times, id and provider of a request made now. */
  timed(lifeSeconds?: number): Pick<MintRequest, 'provider' | 'now' | 'notAfter' | 'issuanceId'>;
  /** Settles with the next call of this action. */
  nextCall(action: string): Promise<void>;
  context(signal?: AbortSignal): { now: Date; signal: AbortSignal };
  close(): Promise<void>;
}

export async function startGcpCloud(): Promise<GcpCloud> {
  const issuer = await startIssuer();
  const waiting: { action: string; arrived: () => void }[] = [];
  let at = new Date();
  const now = () => at;
  const onCall = (action: string) => {
    for (const one of waiting.filter((each) => each.action === action)) {
      waiting.splice(waiting.indexOf(one), 1);
      one.arrived();
    }
  };
  const gcp = await startGcp({ now, onCall });
  seed(gcp, issuer);
  const provider = gcpProvider({ endpoints: { sts: gcp.url, iamcredentials: gcp.url, storage: gcp.url } });
  const [assertions, reports]: [string[], unknown[]] = [[], []];
  const sign = async ({ purpose, audience }: { purpose: string; audience: string }) => {
    // Its clock is not that of this cloud.
    const made = await issuer.assertion({ subject: `mayfly:${purpose}`, audience, lifetimeSeconds: 86_400 });
    assertions.push(made);
    return made;
  };
  return {
    gcp,
    assertions,
    reports,
    options: {
      deny: new MemoryDenyStore(now),
      federation: { sign },
      provider: (name) => (name === provider.name ? provider : undefined),
      now,
      report: (message, context) => void reports.push({ message, context }),
    },
    now,
    advance: (seconds) => {
      at = new Date(at.getTime() + seconds * 1000);
    },
    reset: () => {
      at = new Date(Math.floor(Date.now() / 1000) * 1000);
      for (const list of [assertions, reports]) list.length = 0;
      gcp.faults.clear();
    },
    timed: (lifeSeconds = 60) => {
      const notAfter = new Date((Math.floor(at.getTime() / 1000) + lifeSeconds) * 1000);
      return { provider, now: at, notAfter, issuanceId: freshId(at) };
    },
    nextCall: (action) => new Promise((arrived) => waiting.push({ action, arrived })),
    context: (signal = AbortSignal.timeout(20_000)) => ({ now: at, signal }),
    close: async () => {
      await gcp.close();
      await issuer.close();
    },
  };
}

function seed(gcp: GcpStandin, issuer: LocalIssuer): void {
  gcp.createPoolProvider(poolProvider, issuer.issuer);
  const tokenCreators = [`principal://iam.googleapis.com/${pool}/subject/mayfly:mint`];
  const roles = { invoices: ['roles/storage.objectUser'], payroll: ['roles/storage.objectUser'] };
  gcp.createServiceAccount({ email: account, tokenCreators, roles });
  gcp.createServiceAccount({ email: otherAccount, tokenCreators, roles: {} });
  for (const name of ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf']) gcp.putObject('invoices', name, name);
}

function freshId(at: Date): string {
  return uuidV7(at.getTime(), crypto.getRandomValues(new Uint8Array(10)));
}

/** Status of a use: a signed URL as it is, a token on the JSON API of one object. */
export async function use(
  minted: Minted,
  { gcp, method = 'GET', name = '2026q3/a.pdf', headers = {} }: Use,
): Promise<number> {
  const secret = minted.credential.reveal();
  const body = method === 'PUT' ? { body: 'written' } : {};
  if (secret.startsWith('http')) return (await fetch(secret, { method, headers, ...body })).status;
  const url = `${gcp.url}/storage/v1/b/invoices/o/${encodeURIComponent(name)}?alt=media`;
  return (await fetch(url, { method, headers: { authorization: `Bearer ${secret}`, ...headers } })).status;
}

export interface Use {
  readonly gcp: GcpStandin;
  readonly method?: string;
  readonly name?: string;
  readonly headers?: Readonly<Record<string, string>>;
}
