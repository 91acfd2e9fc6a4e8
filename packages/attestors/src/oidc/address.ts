import { lookup } from 'node:dns/promises';
import ipaddr from 'ipaddr.js';

export interface Resolved {
  readonly address: string;
  readonly family: 4 | 6;
}

export type Resolve = (host: string) => Promise<readonly Resolved[]>;

/** Every address of a host; the connection later goes to one that was checked, never to a second look-up. */
export const resolveHost: Resolve = async (host) =>
  (await lookup(host, { all: true, verbatim: true })).map(({ address, family }) => ({
    address,
    family: family === 6 ? 6 : 4,
  }));

export type AddressClass = 'public' | 'private' | 'loopback' | 'forbidden';

/**
 * Where an address lies. `forbidden` (link-local and with it every cloud's metadata service, multicast, unspecified,
 * reserved) is never connected to, whatever is allowed.
 */
export function classifyAddress(address: string): AddressClass {
  if (!ipaddr.isValid(address)) return 'forbidden';
  const parsed = ipaddr.process(address); // An IPv4-mapped IPv6 address is judged as the IPv4 one it reaches.
  const range = parsed.range();
  if (metadata.has(parsed.toString())) return 'forbidden';
  if (range === 'unicast') return 'public';
  if (range === 'loopback') return 'loopback';
  if (range === 'private' || range === 'uniqueLocal' || range === 'carrierGradeNat') return 'private';
  return 'forbidden';
}

// Metadata services outside link-local: AWS over IPv6, Alibaba, Oracle.
const metadata = new Set(['fd00:ec2::254', '100.100.100.200', '192.0.0.192']);
