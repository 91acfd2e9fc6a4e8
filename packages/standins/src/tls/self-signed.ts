import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';

export interface Certificate {
  /** PEM, both. */
  readonly key: string;
  readonly cert: string;
}

/** A certificate for 127.0.0.1 that is its own authority (RFC 5280), made on the spot: no key lies in the repository. */
export function selfSigned(): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02)); // ecdsa-with-SHA256
  // Among several authorities of one name, a client would try the first alone.
  const commonName = sequence(
    oid(0x55, 0x04, 0x03),
    der(0x0c, Buffer.from(`mayfly stand-in ${randomUUID()}`)),
  );
  const name = sequence(der(0x31, commonName));
  const validity = sequence(der(0x17, Buffer.from('250101000000Z')), der(0x17, Buffer.from('490101000000Z')));
  const alternativeName = sequence(oid(0x55, 0x1d, 0x11), der(0x04, sequence(der(0x87, loopback))));
  const isAuthority = sequence(der(0x01, Buffer.from([0xff])));
  const constraints = sequence(oid(0x55, 0x1d, 0x13), der(0x01, Buffer.from([0xff])), der(0x04, isAuthority));
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    algorithm,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(alternativeName, constraints)),
  );
  const signature = der(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', toBeSigned, privateKey)]));
  const lines =
    sequence(toBeSigned, algorithm, signature)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
  };
}

const loopback = Buffer.from([127, 0, 0, 1]);

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const short = length < 0x80 ? [length] : [0x81, length];
  return Buffer.concat([
    Buffer.from([tag, ...(length < 0x100 ? short : [0x82, length >> 8, length & 0xff])]),
    content,
  ]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function oid(...bytes: number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}
