import { createHash, X509Certificate } from 'node:crypto';
import type { BlockList } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Refusal } from '@mayfly/core';
import type { Request } from 'express';
import { isOfPeer } from '../net.ts';

export interface CertificateOptions {
  /** Our own TLS socket asks for certificates. */
  readonly fromSocket: boolean;
  /** Header in which a trusted proxy hands on the certificate of its client; null: none does. */
  readonly header: string | null;
  readonly proxies: BlockList;
}

/** A certificate with its chain fits; beyond it a header is an attack on memory. */
const headerCharactersMax = 16_384;

/**
 * SHA-256 of the client's certificate, base64url (RFC 8705 section 3.1), or null without one. From our own TLS socket,
 * whose handshake has proven the key, or from the one header of a trusted proxy, which says that its own has; a header
 * from anybody else is nobody's word. Looked at for each request, never remembered for a connection.
 */
export function clientCertificate(request: Request, options: CertificateOptions): string | null {
  if (options.fromSocket) return ofSocket(request.socket as TLSSocket); // Only set together with tlsCert.
  if (options.header === null || !isOfPeer(options.proxies, request.socket.remoteAddress)) return null;
  // One only: a proxy that adds its own beside the client's would leave it to us which one counts.
  const [value = '', ...others] = request.headersDistinct[options.header] ?? [];
  if (others.length > 0 || value.length > headerCharactersMax) throw malformed();
  return value === '' ? null : thumbprint(decode(value));
}

function ofSocket(socket: TLSSocket): string | null {
  const certificate = socket.getPeerX509Certificate?.();
  return certificate === undefined ? null : thumbprint(certificate);
}

/** RFC 9440 (`:base64:`), or PEM in percent-encoding as nginx and its kin write it. */
function decode(value: string): X509Certificate {
  const [, binary] = /^:([A-Za-z0-9+/]+={0,2}):$/.exec(value) ?? [];
  try {
    return new X509Certificate(
      binary === undefined ? decodeURIComponent(value) : Buffer.from(binary, 'base64'),
    );
  } catch (cause) {
    throw malformed(cause);
  }
}

function thumbprint({ raw }: X509Certificate): string {
  return createHash('sha256').update(raw).digest('base64url');
}

function malformed(cause?: unknown): Refusal {
  return new Refusal('malformed_request', { detail: 'client certificate of the proxy', cause });
}
