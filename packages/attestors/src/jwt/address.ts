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
  if (range === 'unicast')
    return parsed.kind() === 'ipv4' || isGlobal(parsed.toString()) ? 'public' : 'forbidden';
  if (range === 'loopback') return 'loopback';
  if (range === 'private' || range === 'uniqueLocal' || range === 'carrierGradeNat') return 'private';
  return 'forbidden';
}

// Metadata services outside link-local: AWS and Google over IPv6, Alibaba, Oracle, Azure's wire server.
const metadata = new Set([
  'fd00:ec2::254',
  'fd20:ce::254',
  '100.100.100.200',
  '192.0.0.192',
  '168.63.129.16',
]);

// 2000::/3 is all that IANA has given out; the rest of IPv6, ::/96 with its embedded IPv4 among it, is nobody's host.
function isGlobal(ipv6: string): boolean {
  return /^[23][0-9a-f]{3}:/.test(ipv6);
}
