import type { Secret } from './secret.ts';

/** A token for one tool server. Prints as nothing; `authorization()` is the one header it is for. */
export class ToolToken {
  readonly accessToken: Secret<string>;
  /** As the server named it, for example `Bearer`. */
  readonly tokenType: string;
  readonly expiresAt: Date;
  /** `isn_...`. */
  readonly issuanceId: string;

  constructor(facts: {
    readonly accessToken: Secret<string>;
    readonly tokenType: string;
    readonly expiresAt: Date;
    readonly issuanceId: string;
  }) {
    this.accessToken = facts.accessToken;
    this.tokenType = facts.tokenType;
    this.expiresAt = facts.expiresAt;
    this.issuanceId = facts.issuanceId;
  }

  /** Value of the Authorization header (RFC 6750 section 2.1). */
  authorization(): string {
    return `Bearer ${this.accessToken.reveal()}`;
  }
}
