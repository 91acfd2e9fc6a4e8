import { randomFillSync } from 'node:crypto';
import { uuidV7 } from '@mayfly/protocol';

const idBytes = 10;
/** Random bytes are drawn in blocks: one call each was 3% of an exchange's CPU (docs/architecture.md). */
const block = new Uint8Array(idBytes * 400);

/** UUIDv7 of now; random bytes are used once. */
export function createIds(now: () => Date = () => new Date()): () => string {
  let at = block.length;
  const own = new Uint8Array(block);
  return () => {
    if (at >= own.length) {
      randomFillSync(own);
      at = 0;
    }
    const random = own.subarray(at, at + idBytes);
    at += idBytes;
    return uuidV7(now().getTime(), random);
  };
}
