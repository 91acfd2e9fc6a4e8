import { parseCompact, type TokenLimits } from './jwt/compact.ts';
import { trustDomainOf } from './spiffe/id.ts';

export interface Routing {
  readonly token: TokenLimits;
  /** Whether a TrustedIssuer of exactly this `iss` is in force. */
  isRegistered(iss: string): boolean;
}

/**
 * The issuer that must answer for an assertion, unverified: its exact `iss`, or the trust domain of a SPIFFE `sub`
 * where no `iss` is registered. Undefined for anything that is not a well-formed assertion.
 */
export function issuerOf(assertion: string, { token, isRegistered }: Routing): string | undefined {
  const { iss, sub } = peek(assertion, token) ?? {};
  const stated = typeof iss === 'string' ? iss : undefined;
  if (stated !== undefined && isRegistered(stated)) return stated;
  return trustDomainOf(sub) ?? stated;
}

function peek(assertion: string, limits: TokenLimits): Readonly<Record<string, unknown>> | undefined {
  try {
    return parseCompact(assertion, limits).payload;
  } catch {
    return undefined;
  }
}
