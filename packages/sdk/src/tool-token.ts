import type { ProofKey } from './proof.ts';
import type { Secret } from './secret.ts';

/** A token for one tool server. Prints as nothing; `headers()` is what it is for. */
export class ToolToken {
  readonly accessToken: Secret<string>;
  /** As the server named it: `Bearer`, or `DPoP` when it is bound to the key of this process. */
  readonly tokenType: string;
  readonly expiresAt: Date;
  /** `isn_...`. */
  readonly issuanceId: string;
  readonly #proofKey: ProofKey | undefined;

  constructor(facts: {
    readonly accessToken: Secret<string>;
    readonly tokenType: string;
    readonly expiresAt: Date;
    readonly issuanceId: string;
    readonly proofKey?: ProofKey | undefined;
  }) {
    this.accessToken = facts.accessToken;
    this.tokenType = facts.tokenType;
    this.expiresAt = facts.expiresAt;
    this.issuanceId = facts.issuanceId;
    this.#proofKey = facts.proofKey;
  }

  /** Value of the Authorization header (RFC 6750 section 2.1, RFC 9449 section 7.1). */
  authorization(): string {
    return `${this.#bound ? 'DPoP' : 'Bearer'} ${this.accessToken.reveal()}`;
  }

  /** Headers of one request to the tool server; a bound token comes with a proof for exactly this request. */
  headers(url: string | URL, { method = 'GET', nonce }: RequestOptions = {}): Record<string, string> {
    const authorization = this.authorization();
    if (!this.#bound || this.#proofKey === undefined) return { authorization };
    const wishes = { url: new URL(url), method, accessToken: this.accessToken.reveal(), nonce };
    return { authorization, dpop: this.#proofKey.prove(wishes, new Date()) };
  }

  get #bound(): boolean {
    return this.tokenType.toLowerCase() === 'dpop';
  }
}

export interface RequestOptions {
  readonly method?: string;
  /** DPoP-Nonce of an earlier answer of the tool server. */
  readonly nonce?: string;
}
