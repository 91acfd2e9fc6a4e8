import { Refusal } from '@mayfly/core';
import { JsonError, parseJsonStrict } from '@mayfly/protocol';

export interface TokenLimits {
  readonly charactersMax: number;
  /** Levels of objects and lists in header and claims. */
  readonly depthMax: number;
}

export interface Compact {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
  /** The signed bytes. */
  readonly signed: string;
}

/** Header members that may stand in an assertion. `jku`, `x5u`, `jwk`, `x5c`, `crit`, `b64`, `zip` are refused (RFC 8725). */
const headerMembers = new Set(['alg', 'kid', 'typ', 'cty', 'x5t', 'x5t#S256']);

/**
 * A compact JWS in its one canonical spelling: three parts, base64url without padding or loose tail bits, objects
 * without duplicate keys. Nothing is verified.
 */
export function parseCompact(token: string, { charactersMax, depthMax }: TokenLimits): Compact {
  if (token.length > charactersMax) throw invalid('too long');
  const parts = token.split('.');
  const [head = '', body = '', signature = ''] = parts;
  if (parts.length !== 3 || signature === '') throw invalid('not a compact JWS of three parts');
  for (const part of parts) if (!isCanonical(part)) throw invalid('not canonical base64url');
  const header = parseObject(head, depthMax);
  for (const member of Object.keys(header))
    if (!headerMembers.has(member)) throw invalid('header member not accepted');
  return { header, payload: parseObject(body, depthMax), signed: `${head}.${body}` };
}

function isCanonical(part: string): boolean {
  return /^[A-Za-z0-9_-]+$/.test(part) && Buffer.from(part, 'base64url').toString('base64url') === part;
}

function parseObject(part: string, maxDepth: number): Record<string, unknown> {
  try {
    // A byte order mark stays, and is then no JSON: it would be a second spelling of the same claims.
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    const text = decoder.decode(Buffer.from(part, 'base64url'));
    const value = parseJsonStrict(text, { maxDepth });
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch (cause) {
    throw invalid(cause instanceof JsonError ? cause.message : 'not UTF-8', cause);
  }
  throw invalid('not an object');
}

/** The exact cause goes to the audit log; the caller is told one sentence for all (standards.md 2g). */
export function invalid(detail: string, cause?: unknown): Refusal {
  return new Refusal('assertion_invalid', { detail, cause });
}
