import { expect, test } from '@jest/globals';
import { classifyAddress, resolveHost } from './address.ts';

const classes = {
  public: ['1.1.1.1', '93.184.216.34', '2606:4700::1111', '2a00:1450:4001::200e', '::ffff:1.1.1.1'],
  private: [
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    'fc00::1',
    'fd12:3456::1',
    '::ffff:10.0.0.1',
    '::ffff:a00:1',
  ],
  loopback: [
    '127.0.0.1',
    '127.255.255.254',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::127.0.0.1',
  ],
  forbidden: [
    // Metadata services and the rest of link-local.
    '169.254.169.254',
    '169.254.170.2',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    'fd00:ec2::254',
    'fd00:0ec2:0:0:0:0:0:254',
    'fd20:ce::254',
    '100.100.100.200',
    '192.0.0.192',
    '168.63.129.16',
    '::ffff:168.63.129.16',
    'fe80::1',
    'fe80::a9fe:a9fe',
    'fe80::1%eth0',
    // Unspecified, broadcast, multicast, reserved, documentation.
    '0.0.0.0',
    '0.1.2.3',
    '::',
    '::ffff:0.0.0.0',
    '255.255.255.255',
    '224.0.0.1',
    '239.255.255.250',
    'ff02::1',
    '240.0.0.1',
    '192.0.2.1',
    '198.51.100.1',
    '203.0.113.1',
    '198.18.0.1',
    '2001:db8::1',
    'fec0::1',
    // IPv6 forms that carry an IPv4 address within.
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::7f00:1',
    '2002:7f00:1::',
    '2001:0:7f00:1::1',
    '::169.254.169.254',
    '::2',
    '1::1',
    '4000::1',
    'fbff::1',
    // No addresses.
    '',
    'localhost',
    '1.1.1.1.1',
    '1.1.1.256',
    '1.1.1.1/32',
    ' 1.1.1.1',
    'fe80::g',
  ],
} as const;

test.each(Object.entries(classes).flatMap(([name, list]) => list.map((one) => [one, name] as const)))(
  '%s is %s',
  (address, name) => {
    expect(classifyAddress(address)).toBe(name);
  },
);

test('public addresses beside the private ranges stay public', () => {
  for (const one of [
    '9.255.255.255',
    '11.0.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '169.253.255.255',
    '169.255.0.0',
  ])
    expect([one, classifyAddress(one)]).toEqual([one, 'public']);
});

test('a look-up of the system gives each address with its family', async () => {
  for (const { address, family } of await resolveHost('localhost')) {
    expect(classifyAddress(address)).toBe('loopback');
    expect(family).toBe(address.includes(':') ? 6 : 4);
  }
});
