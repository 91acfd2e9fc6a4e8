import { BlockList, isIP } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** `localhost`, 127.0.0.0/8 and ::1, with or without brackets. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  if (bare === 'localhost') return true;
  const family = isIP(bare);
  return family !== 0 && loopback.check(bare, family === 6 ? 'ipv6' : 'ipv4');
}

export function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return {
    host: address.slice(0, at).replace(/^\[|\]$/g, ''),
    port: Number.parseInt(address.slice(at + 1), 10),
  };
}

export function isCidr(text: string): boolean {
  const [, address = '', bits] = /^([^/]+)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  const family = isIP(address);
  return family !== 0 && (bits === undefined || Number.parseInt(bits, 10) <= (family === 6 ? 128 : 32));
}

/** Does the address of a socket lie in the list? An IPv4-mapped one counts as the IPv4 one. */
export function isOfPeer(list: BlockList, remoteAddress: string | undefined): boolean {
  const peer = (remoteAddress ?? '').replace(/^::ffff:/, '');
  return isIP(peer) !== 0 && list.check(peer, peer.includes(':') ? 'ipv6' : 'ipv4');
}

/** Which peers may say X-Forwarded-*: exact CIDRs. */
export function cidrList(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = '', bits = ''] = cidr.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    list.addSubnet(address, bits === '' ? (family === 'ipv6' ? 128 : 32) : Number.parseInt(bits, 10), family);
  }
  return list;
}
