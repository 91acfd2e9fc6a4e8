import { getCACertificates, setDefaultCACertificates } from 'node:tls';

/** From now on this process also trusts the certificate, in every client: what an operator does by NODE_EXTRA_CA_CERTS. */
export function trust(...certificates: readonly { readonly cert: string }[]): void {
  setDefaultCACertificates([...getCACertificates('default'), ...certificates.map(({ cert }) => cert)]);
}
