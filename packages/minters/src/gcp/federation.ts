import './quiet.ts';
import { IAMCredentialsClient } from '@google-cloud/iam-credentials';
import { type CallContext, Fault } from '@mayfly/core';
import { OAuth2Client } from 'google-auth-library';
import type { FederationSigner } from '../services.ts';
import { answerTimeoutMs, gcpCall } from './call.ts';
import { guardedFetch } from './fetch.ts';
import { type GcpProvider, iamCredentialsEndpoint, stsEndpoint } from './provider.ts';
import { exchangeToken, federationForm } from './sts.ts';

/** The narrowest scope that IAM Credentials takes: the broker's own token opens nothing else. */
export const iamScope = 'https://www.googleapis.com/auth/iam';
/** A federated token is used until this much of its life is left. */
const marginMs = 60_000;
/** Providers remembered; a document that changes leaves its old entry behind. */
const identitiesMax = 100;

interface Identity {
  readonly client: IAMCredentialsClient;
  readonly until: number;
}

/**
 * The broker's own identity at Google, by Provider: a federated token that stays in this process, and a client of IAM
 * Credentials that carries it. Lost with the process, and then simply made again. It is no credential of any grant.
 */
export class Identities {
  readonly #known = new Map<string, Identity>();
  readonly #flights = new Map<string, Promise<Identity>>();
  readonly #federation: FederationSigner;

  constructor(federation: FederationSigner) {
    this.#federation = federation;
  }

  /** Nothing of an agent's was made when this fails, so its Faults have no effect. */
  async clientOf(provider: GcpProvider, context: CallContext): Promise<IAMCredentialsClient> {
    const key = JSON.stringify([provider.name, provider.workloadIdentityProvider, provider.endpoints]);
    const known = this.#known.get(key);
    if (known !== undefined && known.until > context.now.getTime()) return known.client;
    try {
      const flight = () => this.#flights.get(key) ?? this.#fly(key, provider, context.now);
      return (await gcpCall('ExchangeToken', context, flight)).client;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const { reason, detail } = error;
      throw new Fault(reason, { effect: 'none', ...(detail === undefined ? {} : { detail }) });
    }
  }

  // Many wait for one flight, so it ends by its own deadline and not by that of whoever came first.
  #fly(key: string, provider: GcpProvider, now: Date): Promise<Identity> {
    const flight = this.#federate(provider, now)
      .then((identity) => {
        this.#keep(key, identity);
        return identity;
      })
      .finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  async #federate(provider: GcpProvider, now: Date): Promise<Identity> {
    const resource = `//iam.googleapis.com/${provider.workloadIdentityProvider}`;
    const assertion = await this.#federation.sign({
      provider: provider.name,
      purpose: 'mint',
      audience: assertionAudience(provider),
    });
    const form = federationForm({ audience: resource, scope: iamScope, assertion });
    const signal = AbortSignal.timeout(answerTimeoutMs);
    const { access_token: token, expires_in: life = 0 } = await exchangeToken(stsEndpoint(provider), form, {
      signal,
    });
    return { client: clientWith(token, provider), until: now.getTime() + life * 1000 - marginMs };
  }

  #keep(key: string, identity: Identity): void {
    this.#known.delete(key);
    this.#known.set(key, identity);
    const [oldest] = this.#known.keys();
    if (this.#known.size > identitiesMax && oldest !== undefined) this.#known.delete(oldest);
  }
}

/** `aud` of our assertion: Google's default for this pool provider. */
export function assertionAudience({ workloadIdentityProvider }: GcpProvider): string {
  return `https://iam.googleapis.com/${workloadIdentityProvider}`;
}

/** REST, one try, nothing from the environment. */
export function clientWith(token: string, provider: GcpProvider): IAMCredentialsClient {
  const { protocol, hostname, port } = new URL(iamCredentialsEndpoint(provider));
  const authClient = new OAuth2Client({
    universeDomain: 'googleapis.com',
    // Its own would follow a redirect with the bearer, read without end and heed the environment.
    transporterOptions: { timeout: answerTimeoutMs, retry: false, fetchImplementation: guardedFetch },
  });
  authClient.setCredentials({ access_token: token });
  return new IAMCredentialsClient({
    fallback: true,
    protocol: protocol.slice(0, -1),
    apiEndpoint: hostname,
    port: Number(port === '' ? (protocol === 'http:' ? 80 : 443) : port),
    universeDomain: 'googleapis.com',
    // The library brings an older google-auth-library of its own, whose types differ; what it uses does not.
    authClient: authClient as unknown as NonNullable<ClientOptions['authClient']>,
  });
}

type ClientOptions = NonNullable<ConstructorParameters<typeof IAMCredentialsClient>[0]>;
