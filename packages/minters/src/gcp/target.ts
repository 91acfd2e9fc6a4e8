import { Refusal } from '@mayfly/core';

export interface GcsTarget {
  readonly bucket: string;
  readonly object: string;
}

const gsUrl = /^gs:\/\/([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])\/([\s\S]+)$/;
/** Google's own limit of an object's name. */
const objectBytesMax = 1024;
// Wild for Google's tools, a quote or an escape in a CEL string, changed by URL parsers, or read differently by two.
const unsafe = /[*?\\,"'`]|\$\{|(?:^|\/)\.{1,2}(?:\/|$)|\/\/|^\/|[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/** `gs://BUCKET/OBJECT`; a Refusal where a URL or a condition could read the name as another or as more than one. */
export function parseGcs(identifier: string): GcsTarget {
  const [, bucket, object] = gsUrl.exec(identifier) ?? [];
  if (bucket === undefined || object === undefined) throw malformed('not gs://BUCKET/OBJECT');
  if (Buffer.byteLength(object) > objectBytesMax || unsafe.test(object))
    throw malformed('the object’s name holds what a URL or a condition would read as another');
  return { bucket, object };
}

export function malformed(detail: string): Refusal {
  return new Refusal('identifier_malformed', { detail });
}
