import { expect, test } from '@jest/globals';
import { auditEvent } from '@mayfly/core';
import type { SignInRow, SignInRows } from '@mayfly/store';
import { errors } from 'oidc-provider';
import { createAdapter } from './adapter.ts';

/** Rows in memory, as the store keeps them: once is once. */
function memory() {
  const rows = new Map<string, SignInRow & { consumedAt: Date | null }>();
  const logged: string[] = [];
  const key = (model: string, id: string) => `${model} ${id}`;
  const all: SignInRows = {
    put: async (row, audit) => {
      rows.set(key(row.model, row.id), { ...row, consumedAt: null });
      if (audit !== undefined) logged.push(audit.type);
    },
    putOnce: async (row) => {
      if (rows.has(key(row.model, row.id))) return false;
      rows.set(key(row.model, row.id), { ...row, consumedAt: null });
      return true;
    },
    find: async (model, id) => shown(rows.get(key(model, id))),
    findBy: async (kind, model, value) =>
      shown(
        [...rows.values()].find(
          (row) => row.model === model && (kind === 'uid' ? row.uid : row.userCode) === value,
        ),
      ),
    consume: async (model, id) => {
      const row = rows.get(key(model, id));
      if (row === undefined || row.consumedAt !== null) return false;
      row.consumedAt = new Date(1_000_000);
      return true;
    },
    destroy: async (model, id) => void rows.delete(key(model, id)),
    revokeGrant: async (model, grantId) => {
      for (const [id, row] of rows) if (row.model === model && row.grantId === grantId) rows.delete(id);
    },
    destroyGrant: async (grantId) => {
      for (const [id, row] of rows) if (row.grantId === grantId || row.id === grantId) rows.delete(id);
    },
    poll: async () => true,
    signedIn: async () => undefined,
    end: async () => false,
  };
  const shown = (row: (SignInRow & { consumedAt: Date | null }) | undefined) =>
    row === undefined ? undefined : { payload: { ...row.payload }, consumedAt: row.consumedAt };
  return { all, rows, logged };
}

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
