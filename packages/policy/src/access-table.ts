import type { Action } from '@mayfly/protocol';

/** One row of the published table (`mayfly access`): what an `access` opens, and who holds it to that. */
export interface AccessRow {
  readonly access: string;
  readonly provider: 'aws' | 'token';
  /** Form of the identifier, for people. */
  readonly resource: string;
  readonly prefix: string;
  /** `one`: exactly one thing; `prefix`: everything under one prefix ending in `/`. */
  readonly size: 'one' | 'prefix';
  readonly permissions: Readonly<Partial<Record<Action, readonly string[]>>>;
  readonly enforcedBy: 'provider' | 'tool server';
  readonly lifeSeconds: { readonly min: number; readonly max: number };
  readonly ends: string;
}

export const accessTable: readonly AccessRow[] = [
  {
    access: 's3.object',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/KEY',
    prefix: 'arn:aws:s3:::',
    size: 'one',
    permissions: {
      read: ['s3:GetObject'],
      write: ['s3:PutObject'],
      create: ['s3:PutObject with If-None-Match: *'],
      delete: ['s3:DeleteObject'],
    },
    enforcedBy: 'provider',
    lifeSeconds: { min: 30, max: 300 },
    ends: 'denied (deny policy on the role, typically seconds, not guaranteed), else expired',
  },
  {
    access: 's3.prefix',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/PREFIX/',
    prefix: 'arn:aws:s3:::',
    size: 'prefix',
    permissions: {
      read: ['s3:GetObject'],
      list: ['s3:ListBucket with s3:prefix'],
      write: ['s3:PutObject'],
      create: ['s3:PutObject with If-None-Match: *'],
      delete: ['s3:DeleteObject'],
    },
    enforcedBy: 'provider',
    lifeSeconds: { min: 30, max: 300 },
    ends: 'denied (deny policy on the role, typically seconds, not guaranteed), else expired',
  },
  {
    access: 'token',
    provider: 'token',
    resource: 'https://HOST/PATH',
    prefix: 'https://',
    size: 'one',
    permissions: Object.fromEntries(
      (['read', 'list', 'create', 'write', 'delete', 'send', 'receive', 'invoke', 'decrypt'] as const).map(
        (verb) => [verb, [verb]],
      ),
    ),
    enforcedBy: 'tool server',
    lifeSeconds: { min: 5, max: 3600 },
    ends: 'denied (introspection answers inactive), or expired where the server verifies offline',
  },
];

export function accessRow(access: string): AccessRow | undefined {
  return accessTable.find((row) => row.access === access);
}
