import { expect, test } from '@jest/globals';
import { auditEvent } from '@mayfly/core';
import { errors } from 'oidc-provider';
import { memoryRows as memory } from '../../test/sign-in-rows.ts';
import { createAdapter } from './adapter.ts';

const context = { newId: () => 'id', now: new Date() };
const issued = () => auditEvent(context, { type: 'signin.succeeded' });

test('a payload comes back as it went in, with the id that found it', async () => {
  const { all, rows } = memory();
  const codes = createAdapter({ rows: all, issued })('AuthorizationCode');
  await codes.upsert('c', { jti: 'c', clientId: 'x', grantId: 'g' }, 60);
  expect(rows.get('AuthorizationCode c')).toMatchObject({
    payload: { clientId: 'x', grantId: 'g' },
    lifeSeconds: 60,
    grantId: 'g',
  });
  expect(Object.keys(rows.get('AuthorizationCode c')?.payload ?? {})).not.toContain('jti');
  expect(await codes.find('c')).toEqual({ jti: 'c', clientId: 'x', grantId: 'g' });
  expect(await codes.find('d')).toBeUndefined();
});

test('a device code found by its user code still knows its own id', async () => {
  const { all } = memory();
  const codes = createAdapter({ rows: all, issued })('DeviceCode');
  await codes.upsert('d', { jti: 'd', userCode: 'BCDF' }, 60);
  expect(await codes.findByUserCode('BCDF')).toEqual({ jti: 'd', userCode: 'BCDF' });
});

test('the second consumer of a code hears invalid_grant, and what the first got is gone', async () => {
  const { all } = memory();
  const adapter = createAdapter({ rows: all, issued });
  await adapter('Grant').upsert('g', { accountId: 'a' }, 60);
  await adapter('AuthorizationCode').upsert('c', { grantId: 'g' }, 60);
  await adapter('AccessToken').upsert('t', { grantId: 'g' }, 60);
  await adapter('AuthorizationCode').consume('c');
  expect((await adapter('AuthorizationCode').find('c'))?.['consumed']).toBe(1000);
  await expect(adapter('AuthorizationCode').consume('c')).rejects.toThrow(errors.InvalidGrant);
  expect(await adapter('AccessToken').find('t')).toBeUndefined();
  expect(await adapter('Grant').find('g')).toBeUndefined();
});

test('a replay key is taken once', async () => {
  const keys = createAdapter({ rows: memory().all, issued })('ReplayDetection');
  await keys.upsert('k', { iss: 'i' }, 60);
  await expect(keys.upsert('k', { iss: 'i' }, 60)).rejects.toThrow(errors.InvalidRequest);
});

test('a token is written with its audit row, anything else without one', async () => {
  const { all, logged } = memory();
  const adapter = createAdapter({ rows: all, issued });
  for (const model of ['Session', 'Interaction', 'Grant', 'AuthorizationCode', 'DeviceCode'])
    await adapter(model).upsert('x', {}, 60);
  expect(logged).toEqual([]);
  await adapter('AccessToken').upsert('x', {}, 60);
  expect(logged).toEqual(['signin.succeeded']);
});
