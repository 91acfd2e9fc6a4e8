import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

/** RFC 8785: the one spelling of a JSON value. What is hashed is stored; nothing is ever hashed from a re-serialised row. */
export function canonicalText(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('not a JSON value');
  return text;
}

/** RFC 6962 section 2.1: the hash of a leaf is SHA-256 over 0x00 and its bytes. */
export function leafHash(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(Buffer.of(0)).update(bytes).digest();
}

/** SHA-256, hex, over the canonical form. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(canonicalText(value)).digest('hex');
}

export interface StoredLeaf {
  readonly seq: bigint;
  readonly body: Uint8Array;
  readonly leafHash: Uint8Array;
}

/** Rehashes stored bodies; returns the first position whose bytes are not what was appended, or null. */
export function firstEdited(leaves: Iterable<StoredLeaf>): bigint | null {
  for (const { seq, body, leafHash: stored } of leaves) if (!leafHash(body).equals(stored)) return seq;
  return null;
}
