import { type Action, actions } from '@mayfly/protocol';

/** One row of the published table (`mayfly access`): what an `access` opens, and who holds it to that. */
export interface AccessRow {
  readonly access: string;
  readonly provider: 'aws' | 'token';
  /** Form of the identifier, for people. */
  readonly resource: string;
  /** Regular expression of what stands before bucket or host. */
  readonly start: string;
  /** `one`: exactly one thing; `prefix`: everything under one prefix ending in `/`. */
  readonly size: 'one' | 'prefix';
  /** Native permissions of each verb that the access knows. */
  readonly permissions: Readonly<Partial<Record<Action, readonly string[]>>>;
  /** Condition keys that narrow a verb's permissions beyond the resource, with the value they are held to. */
  readonly conditions: Readonly<Partial<Record<Action, Readonly<Record<string, string>>>>>;
  readonly enforcedBy: 'provider' | 'tool server';
  /** Shortest and longest life of one credential. */
  readonly lifeSeconds: { readonly min: number; readonly max: number };
  readonly ends: string;
}

// 30 s is the shortest scoped session tried; 300 s keeps what a leaked one is worth below five minutes.
const awsLife = { min: 30, max: 300 };
const awsEnds = 'denied (deny policy on the role, typically seconds, not guaranteed), else expired';
// A write that must not overwrite: the request has to carry `If-None-Match: *`.
const onlyIfAbsent = { 's3:if-none-match': '*' };

export const accessTable: readonly AccessRow[] = [
  {
    access: 's3.object',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/KEY',
    start: '^arn:aws[a-z-]*:s3:::',
    size: 'one',
    permissions: {
      read: ['s3:GetObject'],
      create: ['s3:PutObject'],
      write: ['s3:PutObject'],
      delete: ['s3:DeleteObject'],
    },
    conditions: { create: onlyIfAbsent },
    enforcedBy: 'provider',
    lifeSeconds: awsLife,
    ends: awsEnds,
  },
  {
    access: 's3.prefix',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/PREFIX/',
    start: '^arn:aws[a-z-]*:s3:::',
    size: 'prefix',
    permissions: {
      read: ['s3:GetObject'],
      list: ['s3:ListBucket'],
      create: ['s3:PutObject'],
      write: ['s3:PutObject'],
      delete: ['s3:DeleteObject'],
    },
    conditions: { list: { 's3:prefix': 'PREFIX/' }, create: onlyIfAbsent },
    enforcedBy: 'provider',
    lifeSeconds: awsLife,
    ends: awsEnds,
  },
  {
    access: 'token',
    provider: 'token',
    resource: 'https://HOST/PATH',
    start: '^https://',
    size: 'one',
    permissions: Object.fromEntries(actions.map((verb) => [verb, [verb]])),
    conditions: {},
    enforcedBy: 'tool server',
    lifeSeconds: { min: 5, max: 3600 },
    ends: 'denied (introspection answers inactive), or expired where the server verifies offline',
  },
];

export function accessRow(access: string): AccessRow | undefined {
  return accessTable.find((row) => row.access === access);
}
