import type { AuditEvent } from '@mayfly/core';
import { type Database, orFault } from './database.ts';
import { encodeAudit } from './encode.ts';
import type { Prisma } from './generated/client.ts';

/** A row of `signing_key`: the private part only wrapped by the key-encryption key. */
export interface StoredKey {
  readonly id: string;
  readonly purpose: string;
  readonly alg: string;
  readonly publicJwk: object | null;
  readonly wrapped: Uint8Array;
  readonly createdAt: Date;
  readonly activeFrom: Date;
  readonly retiredAt: Date | null;
}

export interface Keys {
  list(): Promise<readonly StoredKey[]>;
  /** Adds the key unless its purpose has one of its algorithm and `onlyIfNone` is set: two replicas may start at once. */
  insert(key: StoredKey, options: { onlyIfNone: boolean; audit: AuditEvent }): Promise<boolean>;
  /**
   * Publishes the next key of its purpose and algorithm, and retires those before it at `retireOthersAt`. One statement
   * by the database's clock: false, and nothing is changed, when another replica was first, when the newest key is
   * younger than `everyMs`, or when less than `leadMs` would be left until it signs.
   */
  rotate(
    key: StoredKey,
    rule: {
      readonly everyMs: number;
      readonly leadMs: number;
      readonly retireOthersAt: Date;
      readonly audit: AuditEvent;
    },
  ): Promise<boolean>;
  retire(id: string, at: Date, audit: AuditEvent): Promise<void>;
  /** Of a key that is published and signs nothing yet: it never will. False where it signs already. */
  withdraw(id: string, audit: AuditEvent): Promise<boolean>;
}

export function createKeys(database: Database): Keys {
  const { prisma } = database;
  return {
    list: () =>
      orFault(async () =>
        (await prisma.signingKey.findMany({ orderBy: [{ createdAt: 'asc' }, { id: 'asc' }] })).map(fromRow),
      ),
    insert: (key, { onlyIfNone, audit }) =>
      orFault(() =>
        prisma.$transaction(async (tx) => {
          await tx.$queryRaw`select epoch from config_epoch for update`;
          const same = { purpose: key.purpose, alg: key.alg };
          if (onlyIfNone && (await tx.signingKey.count({ where: same })) > 0) return false;
          const { publicJwk, wrapped, ...rest } = key;
          const jwk = publicJwk === null ? {} : { publicJwk: publicJwk as Prisma.InputJsonValue };
          await tx.signingKey.create({ data: { ...rest, ...jwk, wrapped: new Uint8Array(wrapped) } });
          // Replicas load keys with the epoch: raising it makes the new one known everywhere.
          await tx.configEpoch.update({ where: { one: true }, data: { epoch: { increment: 1 } } });
          await tx.$executeRaw`select append_audit(${JSON.stringify(encodeAudit(audit))}::jsonb)`;
          return true;
        }),
      ),
    rotate: async (key, { everyMs, leadMs, retireOthersAt, audit }) => {
      const { wrapped, ...rest } = key;
      const values = [
        JSON.stringify({ ...rest, wrapped: Buffer.from(wrapped).toString('hex') }),
        everyMs / 1000,
        leadMs / 1000,
        retireOthersAt,
        JSON.stringify(encodeAudit(audit)),
      ];
      const text = 'select rotate_key($1::jsonb, $2, $3, $4, $5::jsonb) as ok';
      const [row] = await database.call<{ ok: boolean }>('rotate_key', text, values);
      return row?.ok === true;
    },
    withdraw: async (id, audit) => {
      const values = [id, JSON.stringify(encodeAudit(audit))];
      const text = 'select withdraw_key($1, $2::jsonb) as ok';
      const [row] = await database.call<{ ok: boolean }>('withdraw_key', text, values);
      return row?.ok === true;
    },
    retire: (id, at, audit) =>
      orFault(async () => {
        await prisma.$transaction([
          prisma.signingKey.update({ where: { id }, data: { retiredAt: at } }),
          prisma.configEpoch.update({ where: { one: true }, data: { epoch: { increment: 1 } } }),
          prisma.$executeRaw`select append_audit(${JSON.stringify(encodeAudit(audit))}::jsonb)`,
        ]);
      }),
  };
}

function fromRow(row: Omit<StoredKey, 'publicJwk'> & { publicJwk: unknown }): StoredKey {
  const { publicJwk, ...rest } = row;
  return { ...rest, publicJwk: typeof publicJwk === 'object' ? publicJwk : null };
}
