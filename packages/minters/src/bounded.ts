import { Transform, type TransformCallback } from 'node:stream';

/** Tokens, keys, signatures and policies are kilobytes; nothing that a cloud answers to a minter is longer. */
export const answerBytesMax = 131_072;

/** Counts what passes, and breaks off where it is more than an answer: a broker of many must not be filled up by one. */
export class Bounded extends Transform {
  #left = answerBytesMax;

  override _transform(chunk: Uint8Array, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#left -= chunk.length;
    if (this.#left < 0) done(new RangeError('too large'));
    else done(null, chunk);
  }
}
