import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { type CompileContext, ttlOf } from './compile.ts';
import type { AnyDocument } from './documents/kinds.ts';
import { withEndpoints } from './documents/provider/provider.ts';

/** The one form that is hashed, compared and stored: RFC 8785 bytes of the checked document. */
export function canonicalDocument(document: AnyDocument): Uint8Array {
  const text = canonicalize(document);
  if (text === undefined) throw new TypeError('a document that JSON cannot write');
  return new TextEncoder().encode(text);
}

/** SHA-256, hex, of the canonical form: two documents that say the same have the same. */
export function documentDigest(document: AnyDocument): string {
  return createHash('sha256').update(canonicalDocument(document)).digest('hex');
}

/** What is in force once every default is filled in, those of other places too (`mayfly get -o yaml --effective`). */
export function effectiveDocument(document: AnyDocument, { brokerIssuer }: CompileContext): AnyDocument {
  if (document.kind === 'TrustedIssuer') {
    const { spec } = document;
    return { ...document, spec: { ...spec, audience: spec.audience ?? brokerIssuer } };
  }
  if (document.kind === 'Provider') {
    return { ...document, spec: withEndpoints(document.spec) };
  }
  if (document.kind !== 'GrantTemplate') return document;
  const { spec } = document;
  const grants = spec.grants.map((grant) => {
    const { defaultSeconds, maxSeconds } = ttlOf(grant, spec);
    const ttl = { default: `${defaultSeconds}s`, max: `${maxSeconds}s` };
    return { ...grant, mint: { access: 'token', ...grant.mint }, ttl };
  });
  return { ...document, spec: { ...spec, deviation: { heartbeatLost: 'end', ...spec.deviation }, grants } };
}
