/** SPIFFE-ID section 2: trust domain and path in the characters that need no decoding. */
const form = /^(spiffe:\/\/[a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)+)$/;

/** `spiffe://TRUST-DOMAIN` of a workload's SPIFFE ID, or undefined for anything else. */
export function trustDomainOf(id: unknown): string | undefined {
  const [, domain, path = ''] = typeof id === 'string' ? (form.exec(id) ?? []) : [];
  const dotted = path.split('/').some((segment) => segment === '.' || segment === '..');
  return dotted ? undefined : domain;
}
