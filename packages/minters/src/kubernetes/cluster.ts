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

/** How long an assertion of ours is shown again: ends come in thousands at once, and signing costs more than the call. */
const shownMs = 10_000;
/** Assertions kept; the oldest goes first. */
const shownMax = 64;

/** Who we are there, and by whose certificate we know the server. */
interface Shown {
  readonly bearer: string;
  readonly ca?: string;
}

/** The API servers of every Provider, with connections and assertions that are used again. */
export class Clusters {
  readonly #services: MinterServices;
  readonly #rest: Rest;
  readonly #kept = new Map<string, { readonly shown: Promise<Shown>; readonly until: number }>();

  constructor(services: MinterServices, rest: Rest) {
    this.#services = services;
    this.#rest = rest;
  }

  /** Rejects with a Fault without effect: nothing was sent yet. */
  async open(opening: Opening): Promise<Cluster> {
    const { provider, purpose, signal } = opening;
    const key = JSON.stringify([provider.name, purpose, provider.audience, provider.caFile]);
    // The operator's token file is read at each use: whoever writes it renews it there.
    const { bearer, ...known } = await (provider.auth === 'federation'
      ? this.#keep(key, opening)
      : this.#show(opening));
    const base = provider.endpoints.api.replace(/\/$/, '');
    return {
      provider,
      send: async (name, method, path, json) => {
        const headers = { authorization: `Bearer ${bearer}` };
        const answer = await this.#rest.call({
          name,
          method,
          url: `${base}${path}`,
          headers,
          json,
          signal,
          ...known,
        });
        // Its key may have been taken away: the next call brings a new one.
        if (answer.status === 401) this.#kept.delete(key);
        return answer;
      },
    };
  }

  #keep(key: string, opening: Opening): Promise<Shown> {
    const now = this.#services.now().getTime();
    const kept = this.#kept.get(key);
    if (kept !== undefined && now < kept.until) return kept.shown;
    const shown = this.#show(opening);
    this.#kept.delete(key);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= shownMax && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(key, { shown, until: now + shownMs });
    shown.catch(() => this.#kept.delete(key));
    return shown;
  }

  async #show({ provider, purpose }: Opening): Promise<Shown> {
    const { name, auth, audience, caFile, tokenFile, endpoints } = provider;
    const { federation, files } = this.#services;
    const file = tokenFile ?? '';
    const bearer =
      auth === 'federation'
        ? await federation.sign({ provider: name, purpose, audience })
        : (await allowed(file, files?.token(file, new URL(endpoints.api).origin))).trim();
    return { bearer, ...(caFile == null ? {} : { ca: await allowed(caFile, files?.authority(caFile)) }) };
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
