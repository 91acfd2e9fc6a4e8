import type { IncomingHttpHeaders } from 'node:http';
import { type ClientAssertion, Refusal } from '@mayfly/core';
import { ClientRefused } from './errors.ts';

/** As for a subject token. */
const assertionCharactersMax = 16_384;

const types: Readonly<Record<string, { readonly spiffe: boolean }>> = {
  'urn:ietf:params:oauth:client-assertion-type:jwt-bearer': { spiffe: false },
  'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe': { spiffe: true },
};

/**
 * Client authentication at the token endpoint. There are no registered clients and no secrets, so a secret in the form or in
 * an Authorization header is a way of authentication that is not supported (RFC 6749 section 5.2): refused, never ignored.
 */
export function parseClient(
  single: (name: string) => string | null,
  { authorization }: IncomingHttpHeaders,
): ClientAssertion | null {
  if (authorization !== undefined)
    throw new ClientRefused('an Authorization header', schemeOf(authorization));
  if (single('client_secret') !== null) throw new ClientRefused('client_secret');
  const [token, type] = [single('client_assertion'), single('client_assertion_type')];
  if (token === null && type === null) return null;
  if (token === null || type === null)
    throw new Refusal('malformed_request', { detail: 'client_assertion and its type belong together' });
  const known = Object.hasOwn(types, type) ? types[type] : undefined;
  if (known === undefined) throw new ClientRefused('client_assertion_type');
  if (token.length > assertionCharactersMax) throw new ClientRefused('too long');
  return { token, ...known, clientId: single('client_id') };
}

/** Only a word of HTTP's own grammar goes back into a header. */
function schemeOf(authorization: string): string {
  const [scheme = ''] = authorization.split(' ');
  return /^[A-Za-z][A-Za-z0-9-]{0,31}$/.test(scheme) ? scheme : 'Basic';
}
