import type { AccessRow } from './row.ts';

// 30 s is the shortest scoped session tried; 300 s keeps what a leaked one is worth below five minutes.
const awsLife = { min: 30, max: 300 };
const awsEnds = 'denied (deny policy on the role, typically seconds, not guaranteed), else expired';
// A write that must not overwrite: the request has to carry `If-None-Match: *`.
const onlyIfAbsent = { 's3:if-none-match': '*' };
const awsWorst = 'a denial has no guaranteed delay, so the longest ttl counts';
const bucket = { what: 'bucket', form: '^[a-z0-9.-]{1,63}$' };

export const awsAccess: readonly AccessRow[] = [
  {
    access: 's3.object',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/KEY',
    start: '^arn:aws[a-z-]*:s3:::',
    head: bucket,
    tail: 'key',
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
    worst: awsWorst,
  },
  {
    access: 's3.prefix',
    provider: 'aws',
    resource: 'arn:aws:s3:::BUCKET/PREFIX/',
    start: '^arn:aws[a-z-]*:s3:::',
    head: bucket,
    tail: 'key',
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
    worst: awsWorst,
  },
];
