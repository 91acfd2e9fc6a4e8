import { createHmac } from 'node:crypto';
import type { Secret } from '@mayfly/core';

/** The service version whose string to sign is used; the first with all fields that we need is 2020-12-06. */
export const sasVersion = '2023-11-03';

/** What a user delegation SAS says beside its key; sent in this order. */
export interface SasFields {
  /** Letters of `sp`, in Azure's order. */
  readonly permissions: string;
  readonly expiresOn: Date;
  /** Segments of a directory, or null for one blob. */
  readonly directoryDepth: number | null;
  readonly correlationId: string | null;
}

/** A user delegation key as Azure answered it; texts as they stood there, since they are signed as they stand. */
export interface DelegationKey {
  readonly objectId: string;
  readonly tenantId: string;
  readonly startsOn: string;
  readonly expiresOn: string;
  readonly service: string;
  readonly version: string;
  readonly value: Secret<string>;
}

/** Azure takes whole seconds only: `2026-11-23T12:01:00Z`. */
export function azureTime(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** The query of a SAS without its key: https only, for one blob or one directory. */
export function sasQuery({ permissions, expiresOn, directoryDepth, correlationId }: SasFields): string {
  return queryOf([
    ['sp', permissions],
    ['se', azureTime(expiresOn)],
    ['spr', 'https'],
    ['sv', sasVersion],
    ['sr', directoryDepth === null ? 'b' : 'd'],
    ...(directoryDepth === null ? [] : [['sdd', String(directoryDepth)] as const]),
    ...(correlationId === null ? [] : [['scid', correlationId] as const]),
  ]);
}

/**
 * The same query with key and signature. `resource` is `/blob/ACCOUNT/CONTAINER/PATH`
 * (learn.microsoft.com, "Create a user delegation SAS", string to sign of version 2020-12-06 and later).
 */
export function signSas(
  query: string,
  { resource, key }: { resource: string; key: DelegationKey },
): { readonly query: string; readonly signature: string } {
  const fields = new URLSearchParams(query);
  const of = (name: string) => fields.get(name) ?? '';
  const [start, authorizedObjectId, unauthorizedObjectId, addressRange, snapshot, encryptionScope] =
    Array<string>(6).fill('');
  const responseHeaders = Array<string>(5).fill('');
  const signed = [
    ...[of('sp'), start, of('se'), resource],
    ...[key.objectId, key.tenantId, key.startsOn, key.expiresOn, key.service, key.version],
    ...[authorizedObjectId, unauthorizedObjectId, of('scid'), addressRange],
    ...[of('spr'), of('sv'), of('sr'), snapshot, encryptionScope],
    ...responseHeaders,
  ];
  const signature = createHmac('sha256', Buffer.from(key.value.reveal(), 'base64'))
    .update(signed.join('\n'))
    .digest('base64');
  const keyed = queryOf([
    ['skoid', key.objectId],
    ['sktid', key.tenantId],
    ['skt', key.startsOn],
    ['ske', key.expiresOn],
    ['sks', key.service],
    ['skv', key.version],
    ['sig', signature],
  ]);
  return { query: `${query}&${keyed}`, signature };
}

function queryOf(pairs: readonly (readonly [string, string])[]): string {
  return pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}
