import { createHash } from 'node:crypto';

/** Castagnoli's polynomial, reflected. */
const polynomial = 0x82f63b78;
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
  return value;
});

/** What Cloud Storage says of an object's bytes, base64: Google's libraries compare both. */
export function checksums(body: Buffer): { readonly md5: string; readonly crc32c: string } {
  let crc = 0xffffffff;
  for (const byte of body) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((crc ^ 0xffffffff) >>> 0);
  return { md5: createHash('md5').update(body).digest('base64'), crc32c: bytes.toString('base64') };
}
