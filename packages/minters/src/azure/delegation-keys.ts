import { type CallContext, Fault, Secret } from '@mayfly/core';
import { answerTimeoutMs, post, refuseUnlessOk } from './call.ts';
import type { EntraTokens } from './entra-tokens.ts';
import { type AzureProvider, blobEndpoint } from './provider.ts';
import { azureTime, type DelegationKey, sasVersion } from './sas.ts';

/** Keys remembered: one for each client and account in use; the soonest to expire goes first. */
const keysMax = 1_000;
/** A key that begins now would not be valid yet for an Azure whose clock is behind. */
const startSlackMs = 60_000;

export interface KeyRequest {
  readonly provider: AzureProvider;
  readonly client: string;
  readonly account: string;
  readonly keySeconds: number;
  /** What is signed ends no later than this; so must not the key before it. */
  readonly until: Date;
}

interface Kept {
  readonly key: DelegationKey;
  readonly expiresAt: Date;
}

/**
 * User delegation keys of this replica, in memory only: whoever holds one can sign whatever its client may do in the
 * account. One for each (provider, client, account), asked for once however many wait for it; lost with the process.
 */
export class DelegationKeys {
  readonly #tokens: EntraTokens;
  readonly #kept = new Map<string, Kept>();
  readonly #flights = new Map<string, Promise<Kept>>();

  constructor(tokens: EntraTokens) {
    this.#tokens = tokens;
  }

  async keyFor(request: KeyRequest, { now, signal }: CallContext): Promise<DelegationKey> {
    const { provider, client, account, until } = request;
    const { authority = '', blob = '' } = provider.endpoints ?? {};
    const name = [provider.name, authority, blob, provider.tenant, client, account].join('\n');
    const kept = this.#kept.get(name);
    if (kept !== undefined && kept.expiresAt >= until) return kept.key;
    const flight = this.#flights.get(name) ?? this.#start(name, request, now);
    const { key, expiresAt } = await untilAborted(flight, signal);
    if (expiresAt < until) throw lying('a key that ends before the credential');
    return key;
  }

  /** Under a deadline of its own: the one who asked first may give up before those who wait with it. */
  #start(name: string, request: KeyRequest, now: Date): Promise<Kept> {
    const flight = this.#fetch(request, { now, signal: AbortSignal.timeout(answerTimeoutMs) })
      .then((kept) => {
        this.#kept.set(name, kept);
        if (this.#kept.size > keysMax) this.#drop(now);
        return kept;
      })
      .finally(() => this.#flights.delete(name));
    this.#flights.set(name, flight);
    return flight;
  }

  async #fetch({ provider, client, account, keySeconds }: KeyRequest, context: CallContext): Promise<Kept> {
    const { now, signal } = context;
    const token = await this.#tokens.tokenFor(provider, client, signal);
    const start = new Date(now.getTime() - startSlackMs);
    const expiry = new Date((Math.floor(now.getTime() / 1000) + keySeconds) * 1000);
    const url = `${blobEndpoint(provider, account)}/?restype=service&comp=userdelegationkey`;
    const answer = await post('Get User Delegation Key', url, {
      headers: {
        authorization: `Bearer ${token.reveal()}`,
        'content-type': 'application/xml',
        'x-ms-version': sasVersion,
      },
      body: `<?xml version="1.0" encoding="utf-8"?><KeyInfo><Start>${azureTime(start)}</Start><Expiry>${azureTime(expiry)}</Expiry></KeyInfo>`,
      signal,
    });
    refuseUnlessOk('Get User Delegation Key', answer);
    return checkKey(readKey(answer.text), { tenant: provider.tenant, now, expiry });
  }

  #drop(now: Date): void {
    for (const [name, { expiresAt }] of this.#kept) if (expiresAt <= now) this.#kept.delete(name);
    const [soonest] = [...this.#kept].sort(([, a], [, b]) => a.expiresAt.getTime() - b.expiresAt.getTime());
    if (this.#kept.size > keysMax && soonest !== undefined) this.#kept.delete(soonest[0]);
  }
}

/** The seven elements of the answer, each once and without markup; anything else is no key. */
function readKey(xml: string): DelegationKey {
  const of = (name: string) => {
    const [found, ...more] = [...xml.matchAll(new RegExp(`<${name}>([^<>&\\s]{1,256})</${name}>`, 'g'))];
    const [, text] = found ?? [];
    if (text === undefined || more.length > 0) throw lying(`no key: ${name}`);
    return text;
  };
  return {
    objectId: of('SignedOid'),
    tenantId: of('SignedTid'),
    startsOn: of('SignedStart'),
    expiresOn: of('SignedExpiry'),
    service: of('SignedService'),
    version: of('SignedVersion'),
    value: new Secret(of('Value')),
  };
}

/** Of our tenant, for blobs, valid now and no longer than asked; a longer one would make a leak of our memory worse. */
function checkKey(
  key: DelegationKey,
  { tenant, now, expiry }: { tenant: string; now: Date; expiry: Date },
): Kept {
  const expiresAt = new Date(key.expiresOn);
  if (key.tenantId !== tenant) throw lying('a key of another tenant');
  if (key.service !== 'b' || !/^\d{4}-\d\d-\d\d$/.test(key.version)) throw lying('a key of another service');
  // Written so that an invalid date is a lie as well.
  if (!(expiresAt.getTime() <= expiry.getTime())) throw lying('a key that lives longer than asked for');
  if (!(Date.parse(key.startsOn) <= now.getTime())) throw lying('a key that is not valid yet');
  return { key, expiresAt };
}

function lying(detail: string): Fault {
  return new Fault('provider_refused', { effect: 'unknown', detail: `the provider answered ${detail}` });
}

function untilAborted<T>(flight: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () =>
      reject(
        new Fault('provider_unavailable', {
          effect: 'unknown',
          detail: 'Get User Delegation Key: no answer',
        }),
      );
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    flight.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
