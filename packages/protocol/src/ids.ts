/** Public ids: a UUIDv7 (RFC 9562 section 5.7) shown as a prefix and 26 Crockford base-32 characters. */
export const idPrefixes = ['tsk', 'grt', 'isn', 'apr', 'evt', 'rev'] as const;
export type IdPrefix = (typeof idPrefixes)[number];

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
// Looked at before the case is changed: `ſ` and `ß` have ASCII letters as upper case. Without `u`, `i` is ASCII only.
const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const bareForm = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i;
const unixMsMax = 2 ** 48 - 1;

/** The bare 26 characters of a UUID in canonical lower-case form; what clouds and `${task.id}` carry. */
export function bareId(uuid: string): string {
  let rest = BigInt(`0x${uuid.replaceAll('-', '')}`);
  let text = '';
  for (let i = 0; i < 26; i += 1) {
    text = alphabet.charAt(Number(rest & 31n)) + text;
    rest >>= 5n;
  }
  return text;
}

/** `tsk_01K...`: the form users see. */
export function formatId(prefix: IdPrefix, uuid: string): string {
  return `${prefix}_${bareId(uuid)}`;
}

/** The UUID of any accepted spelling (prefixed, bare, UUID), or undefined. Another kind's prefix is refused. */
export function parseId(prefix: IdPrefix, text: string): string | undefined {
  if (uuidForm.test(text)) return text.toLowerCase();
  const bare = text.startsWith(`${prefix}_`) ? text.slice(prefix.length + 1) : text;
  if (!bareForm.test(bare)) return undefined;
  let value = 0n;
  for (const character of bare.toUpperCase()) value = (value << 5n) | BigInt(alphabet.indexOf(character));
  return uuidText(value.toString(16).padStart(32, '0'));
}

/** A UUIDv7 of the given time in milliseconds and 10 random bytes. Pure: both come from the caller's port. */
export function uuidV7(unixMs: number, random: Uint8Array): string {
  if (random.length < 10) throw new RangeError('uuidV7 needs 10 random bytes');
  if (!(unixMs >= 0 && unixMs <= unixMsMax)) throw new RangeError('uuidV7 holds 48 bits of milliseconds');
  const time = Math.trunc(unixMs).toString(16).padStart(12, '0');
  const bytes = Array.from(random.subarray(0, 10));
  bytes[0] = ((bytes[0] ?? 0) & 0x0f) | 0x70;
  bytes[2] = ((bytes[2] ?? 0) & 0x3f) | 0x80;
  return uuidText(time + bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(''));
}

/** The moment inside a UUIDv7: partitions are found by it. */
export function uuidTime(uuid: string): Date {
  return new Date(Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16));
}

function uuidText(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
