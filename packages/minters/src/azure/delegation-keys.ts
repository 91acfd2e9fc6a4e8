import { type CallContext, Secret } from '@mayfly/core';
import { lying, type Rest, refusalOf } from '../rest/rest.ts';
import { type EntraTokens, storageScope } from './entra-tokens.ts';
import { type Kept, KeptKeys } from './kept-keys.ts';
import { type AzureProvider, blobEndpoint } from './provider.ts';
import { azureTime, type DelegationKey, sasVersion } from './sas.ts';

const call = 'Get User Delegation Key';
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

/**
 * User delegation keys: whoever holds one can sign whatever its client may do in the account. One for each (provider,
 * client, account), for no longer than the longest SAS and a minute.
 */
export class DelegationKeys {
  readonly #tokens: EntraTokens;
  readonly #rest: Rest;
  readonly #kept = new KeptKeys<DelegationKey>();

  constructor(tokens: EntraTokens, rest: Rest) {
    this.#tokens = tokens;
    this.#rest = rest;
  }

  keyFor(request: KeyRequest, context: CallContext): Promise<DelegationKey> {
    const { provider, client, account, until } = request;
    const { authority = '', blob = '' } = provider.endpoints ?? {};
    const name = [provider.name, authority, blob, provider.tenant, client, account].join('\n');
    return this.#kept.find(name, { call, until, fetch: (own) => this.#fetch(request, own) }, context);
  }

  async #fetch(
    { provider, client, account, keySeconds }: KeyRequest,
    { now, signal }: CallContext,
  ): Promise<Kept<DelegationKey>> {
    const token = await this.#tokens.tokenFor({ provider, client, scope: storageScope }, signal);
    const start = new Date(now.getTime() - startSlackMs);
    const expiry = new Date((Math.floor(now.getTime() / 1000) + keySeconds) * 1000);
    const answer = await this.#rest.call({
      name: call,
      method: 'POST',
      url: `${blobEndpoint(provider, account)}/?restype=service&comp=userdelegationkey`,
      headers: {
        accept: 'application/xml',
        authorization: `Bearer ${token.reveal()}`,
        'content-type': 'application/xml',
        'x-ms-version': sasVersion,
      },
      text: `<?xml version="1.0" encoding="utf-8"?><KeyInfo><Start>${azureTime(start)}</Start><Expiry>${azureTime(expiry)}</Expiry></KeyInfo>`,
      signal,
    });
    if (answer.status !== 200) throw refusalOf(call, answer);
    return checkKey(readKey(answer.text), { tenant: provider.tenant, now, expiry });
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
): Kept<DelegationKey> {
  const usableUntil = new Date(key.expiresOn);
  if (key.tenantId !== tenant) throw lying('a key of another tenant');
  if (key.service !== 'b' || !/^\d{4}-\d\d-\d\d$/.test(key.version)) throw lying('a key of another service');
  // Written so that an invalid date is a lie as well.
  if (!(usableUntil.getTime() <= expiry.getTime())) throw lying('a key that lives longer than asked for');
  if (!(Date.parse(key.startsOn) <= now.getTime())) throw lying('a key that is not valid yet');
  return { key, usableUntil };
}
