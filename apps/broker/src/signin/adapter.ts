import type { AuditEvent } from '@mayfly/core';
import type { SignInFound, SignInRows } from '@mayfly/store';
import { type Adapter, errors } from 'oidc-provider';

type Payload = Readonly<Record<string, unknown>>;

/** Their rows fall with their grant. */
const ofGrant: ReadonlySet<string> = new Set(['AccessToken', 'AuthorizationCode', 'DeviceCode']);

/**
 * What oidc-provider keeps, as rows that hold nothing usable. It looks before it writes, so what must happen once is
 * decided here: a lost race is told as the error that a late request gets.
 */
export function createAdapter(options: {
  readonly rows: SignInRows;
  /** The audit row of a token, written with it. */
  issued(token: Payload): AuditEvent;
}): (model: string) => Adapter {
  const { rows, issued } = options;
  return (model) => ({
    upsert: async (id, payload, expiresIn) => {
      const row = rowOf(model, { id, payload, expiresIn });
      if (model === 'ReplayDetection') {
        if (!(await rows.putOnce(row))) throw new errors.InvalidRequest('replayed');
      } else await rows.put(row, model === 'AccessToken' ? issued(payload) : undefined);
    },
    find: async (id) => shown(await rows.find(model, id), id),
    findByUid: async (uid) => shown(await rows.findBy('uid', model, uid)),
    findByUserCode: async (userCode) => shown(await rows.findBy('user_code', model, userCode)),
    destroy: (id) => (model === 'Grant' ? rows.destroyGrant(id) : rows.destroy(model, id)),
    consume: async (id) => {
      if (await rows.consume(model, id)) return;
      // RFC 6749 section 4.1.2: a code used twice may have been stolen, so what the first use gave is taken back.
      const grantId = textOf((await rows.find(model, id))?.payload['grantId']);
      if (grantId !== undefined) await rows.destroyGrant(grantId);
      throw new errors.InvalidGrant('already consumed');
    },
    revokeByGrantId: (grantId) => rows.revokeGrant(model, grantId),
  });
}

function rowOf(model: string, row: { id: string; payload: Payload; expiresIn: number }) {
  const { id, payload, expiresIn } = row;
  const { jti, ...rest } = payload;
  return {
    model,
    id,
    // A device code is also found by its user code, and saved again by its id.
    payload: model === 'DeviceCode' ? { ...rest, jti } : rest,
    lifeSeconds: expiresIn,
    grantId: ofGrant.has(model) ? textOf(payload['grantId']) : undefined,
    uid: model === 'Session' ? textOf(payload['uid']) : undefined,
    userCode: model === 'DeviceCode' ? textOf(payload['userCode']) : undefined,
  };
}

function shown(found: SignInFound | undefined, id?: string): Record<string, unknown> | undefined {
  if (found === undefined) return undefined;
  const { payload, consumedAt } = found;
  return {
    ...(id === undefined ? {} : { jti: id }),
    ...payload,
    ...(consumedAt === null ? {} : { consumed: Math.floor(consumedAt.getTime() / 1000) }),
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
