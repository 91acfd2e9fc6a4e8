import { Fault } from '@mayfly/core';
import type { Rest, RestAnswer } from '../rest/rest.ts';
import type { MinterServices } from '../services.ts';
import type { KubernetesProvider } from './provider.ts';

/** The API server, as one of our identities there. */
export interface Cluster {
  readonly provider: KubernetesProvider;
  send(name: string, method: 'POST' | 'DELETE', path: string, json: unknown): Promise<RestAnswer>;
}

interface Opening {
  readonly provider: KubernetesProvider;
  readonly purpose: 'mint' | 'revoke';
  readonly services: MinterServices;
  readonly rest: Rest;
  readonly signal: AbortSignal;
}

/** Rejects with a Fault without effect: nothing was sent yet. */
export async function openCluster({ provider, purpose, services, rest, signal }: Opening): Promise<Cluster> {
  const { endpoints, caFile } = provider;
  const bearer = await identity(provider, purpose, services);
  const ca = caFile == null ? {} : { ca: await allowed(caFile, services.files?.authority(caFile)) };
  const base = endpoints.api.replace(/\/$/, '');
  return {
    provider,
    send: (name, method, path, json) => {
      const headers = { authorization: `Bearer ${bearer}` };
      return rest.call({ name, method, url: `${base}${path}`, headers, json, signal, ...ca });
    },
  };
}

/** The broker's own assertion, or the operator's token file: never anything that a document holds. */
async function identity(
  { name, auth, audience, tokenFile, endpoints }: KubernetesProvider,
  purpose: 'mint' | 'revoke',
  { federation, files }: MinterServices,
): Promise<string> {
  if (auth === 'federation') return federation.sign({ provider: name, purpose, audience });
  const file = tokenFile ?? '';
  const origin = new URL(endpoints.api).origin;
  return (await allowed(file, files?.token(file, origin))).trim();
}

async function allowed(file: string, reading: Promise<string> | undefined): Promise<string> {
  const text = await reading?.catch(() => undefined);
  if (text !== undefined) return text;
  throw new Fault('provider_unavailable', {
    effect: 'none',
    detail: `${file} is not allowed or cannot be read`,
  });
}
