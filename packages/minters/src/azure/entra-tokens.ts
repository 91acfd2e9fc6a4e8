import { ClientAssertionCredential } from '@azure/identity';
import { Fault, Secret } from '@mayfly/core';
import type { FederationSigner } from '../services.ts';
import type { AzureProvider } from './provider.ts';

/** What Entra expects as audience of an assertion of another issuer. */
export const assertionAudience = 'api://AzureADTokenExchange';
export const managementScope = 'https://management.azure.com/.default';
export const storageScope = 'https://storage.azure.com/.default';

/** One for each ceiling in use; documents name at most 64 of them each. */
const credentialsMax = 1_000;

export interface TokenRequest {
  readonly provider: AzureProvider;
  readonly client: string;
  readonly scope: string;
}

/**
 * Tokens of the broker's own, by federation: no secret is stored, and no agent is ever given one.
 *
 * A credential object's cache ignores the assertion: shared, it would answer the token of whoever asked first. So there
 * is one for each (provider, authority, tenant, client), and nothing of a grant stands in an assertion.
 */
export class EntraTokens {
  readonly #federation: FederationSigner;
  readonly #credentials = new Map<string, ClientAssertionCredential>();

  constructor(federation: FederationSigner) {
    this.#federation = federation;
  }

  /** A Fault never has an effect: without the token nothing was asked for. */
  async tokenFor({ provider, client, scope }: TokenRequest, signal: AbortSignal): Promise<Secret<string>> {
    try {
      const token = await this.#credential(provider, client).getToken(scope, { abortSignal: signal });
      return new Secret(token.token);
    } catch (cause) {
      // After a 429 or 5xx the object would refuse for a minute without asking; a new one asks.
      this.#credentials.delete(keyOf(provider, client));
      if (cause instanceof Fault) throw cause;
      // The messages hold ids of tenants and clients, sometimes the assertion.
      const name = cause instanceof Error ? cause.name : 'unknown';
      const refused = name === 'AuthenticationRequiredError' && isAnswer(cause);
      const reason = refused ? 'provider_refused' : 'provider_unavailable';
      throw new Fault(reason, { effect: 'none', detail: `Entra token: ${name}`, cause });
    }
  }

  #credential(provider: AzureProvider, client: string): ClientAssertionCredential {
    const { name, tenant } = provider;
    const key = keyOf(provider, client);
    const known = this.#credentials.get(key);
    if (known !== undefined) return known;
    const sign = () =>
      this.#federation.sign({ provider: name, purpose: 'mint', audience: assertionAudience });
    const made = new ClientAssertionCredential(tenant, client, sign, optionsOf(provider));
    if (this.#credentials.size >= credentialsMax) this.#credentials.clear();
    this.#credentials.set(key, made);
    return made;
  }
}

/** Options that leave nothing to the environment: AZURE_AUTHORITY_HOST would send our assertions elsewhere. */
export function optionsOf({ endpoints }: Pick<AzureProvider, 'endpoints'>) {
  const authority = endpoints?.authority;
  return {
    authorityHost: authority ?? 'https://login.microsoftonline.com',
    // Else the library first asks Microsoft's public directory who an authority is.
    disableInstanceDiscovery: authority !== undefined,
    retryOptions: { maxRetries: 0 },
  };
}

function keyOf({ name, endpoints, tenant }: AzureProvider, client: string): string {
  return [name, endpoints?.authority ?? '', tenant, client].join('\n');
}

/** Entra said no (RFC 6749 section 5.2), rather than being away. */
function isAnswer(cause: unknown): boolean {
  const text = String(Reflect.get(Object(cause), 'message'));
  return /\b(?:invalid_client|invalid_request|unauthorized_client|invalid_scope|invalid_grant)\b/.test(text);
}
