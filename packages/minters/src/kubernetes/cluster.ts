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
  readonly signal: AbortSignal;
}

/** How long one assertion of ours is shown: ends come in thousands at once, and signing one costs more than the call. */
const assertionMs = 10_000;
/** Assertions kept; the oldest goes first. */
const assertionsMax = 64;

interface Kept {
  readonly bearer: Promise<string>;
  readonly until: number;
}

/** The API servers of every Provider, with connections and assertions that are used again. */
export class Clusters {
  readonly #services: MinterServices;
  readonly #rest: Rest;
  readonly #assertions = new Map<string, Kept>();

  constructor(services: MinterServices, rest: Rest) {
    this.#services = services;
    this.#rest = rest;
  }

  /** Rejects with a Fault without effect: nothing was sent yet. */
  async open({ provider, purpose, signal }: Opening): Promise<Cluster> {
    const { name, auth, audience, endpoints, caFile } = provider;
    const { files } = this.#services;
    const key = JSON.stringify([name, purpose, audience]);
    const bearer = await (auth === 'federation'
      ? this.#assertion(key, provider, purpose)
      : this.#token(provider));
    const ca = caFile == null ? {} : { ca: await allowed(caFile, files?.authority(caFile)) };
    const base = endpoints.api.replace(/\/$/, '');
    return {
      provider,
      send: async (asked, method, path, json) => {
        const headers = { authorization: `Bearer ${bearer}` };
        const answer = await this.#rest.call({
          name: asked,
          method,
          url: `${base}${path}`,
          headers,
          json,
          signal,
          ...ca,
        });
        // Its key may have been taken away: the next call brings a new one.
        if (answer.status === 401) this.#assertions.delete(key);
        return answer;
      },
    };
  }

  #assertion(
    key: string,
    { name, audience }: KubernetesProvider,
    purpose: Opening['purpose'],
  ): Promise<string> {
    const now = this.#services.now().getTime();
    const kept = this.#assertions.get(key);
    if (kept !== undefined && now < kept.until) return kept.bearer;
    const bearer = this.#services.federation.sign({ provider: name, purpose, audience });
    this.#assertions.delete(key);
    const [oldest] = this.#assertions.keys();
    if (this.#assertions.size >= assertionsMax && oldest !== undefined) this.#assertions.delete(oldest);
    this.#assertions.set(key, { bearer, until: now + assertionMs });
    bearer.catch(() => this.#assertions.delete(key));
    return bearer;
  }

  /** The operator's token file, read at each use: whoever writes it renews it there. */
  async #token({ tokenFile, endpoints }: KubernetesProvider): Promise<string> {
    const file = tokenFile ?? '';
    const origin = new URL(endpoints.api).origin;
    return (await allowed(file, this.#services.files?.token(file, origin))).trim();
  }
}

async function allowed(file: string, reading: Promise<string> | undefined): Promise<string> {
  const text = await reading?.catch(() => undefined);
  if (text !== undefined) return text;
  throw new Fault('provider_unavailable', {
    effect: 'none',
    detail: `${file} is not allowed or cannot be read`,
  });
}
