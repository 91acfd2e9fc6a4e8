import { expect, test } from '@jest/globals';
import { actions } from '@mayfly/protocol';
import { accessRow, accessTable } from './index.ts';

test('an object is read, created, written and deleted, and never listed', () => {
  expect(accessRow('s3.object')?.permissions).toEqual({
    read: ['s3:GetObject'],
    create: ['s3:PutObject'],
    write: ['s3:PutObject'],
    delete: ['s3:DeleteObject'],
  });
});

test('a prefix is also listed, under the condition that names it', () => {
  expect(accessRow('s3.prefix')?.permissions.list).toEqual(['s3:ListBucket']);
  expect(accessRow('s3.prefix')?.conditions.list).toEqual({ 's3:prefix': 'PREFIX/' });
});

test('create never overwrites', () => {
  for (const { access, provider, conditions, permissions } of accessTable)
    if (provider === 'aws' && permissions.create !== undefined)
      expect([access, conditions.create]).toEqual([access, { 's3:if-none-match': '*' }]);
});

test('every row names only verbs of the contract and a life that can be lived', () => {
  for (const { permissions, conditions, lifeSeconds, start } of accessTable) {
    for (const verb of [...Object.keys(permissions), ...Object.keys(conditions)])
      expect(actions).toContain(verb);
    for (const verb of Object.keys(conditions)) expect(Object.keys(permissions)).toContain(verb);
    expect(lifeSeconds.min).toBeLessThan(lifeSeconds.max);
    expect(start.startsWith('^')).toBe(true);
  }
});

test('an access that is not in the table is unknown', () => {
  expect(accessRow('s3.bucket')).toBeUndefined();
});
