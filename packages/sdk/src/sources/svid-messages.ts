/** The two messages of FetchJWTSVID (SPIFFE Workload API section 6.2.1), so that no protobuf library is needed. */

/** `JWTSVIDRequest { repeated string audience = 1; }`. */
export function encodeSvidRequest(audience: string): Buffer {
  const text = Buffer.from(audience, 'utf8');
  return Buffer.concat([Buffer.from([0x0a, ...varint(text.length)]), text]);
}

/**
 * The token of the first identity: `JWTSVIDResponse { repeated JWTSVID svids = 1; }`,
 * `JWTSVID { string spiffe_id = 1; string svid = 2; }`. Undefined for anything else.
 */
export function decodeFirstSvid(answer: Uint8Array): string | undefined {
  const first = fieldOf(answer, 1);
  const svid = first === undefined ? undefined : fieldOf(first, 2);
  return svid === undefined ? undefined : Buffer.from(svid).toString('utf8');
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** The first length-delimited field of this number; others are skipped, and what is cut short holds nothing. */
function fieldOf(message: Uint8Array, wanted: number): Uint8Array | undefined {
  let at = 0;
  const next = (): number => {
    let value = 0;
    // 2^28 is more than any message here.
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = message[at] ?? Number.NaN;
      at += 1;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (at < message.length) {
    const tag = next();
    const wireType = tag & 7;
    if (wireType === 0) next();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = next();
      const end = at + length;
      if (!(end <= message.length)) return undefined;
      if (tag >>> 3 === wanted) return message.subarray(at, end);
      at = end;
    } else return undefined;
  }
  return undefined;
}
