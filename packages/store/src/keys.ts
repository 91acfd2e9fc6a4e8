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
  /** Adds the key unless its purpose already has one and `onlyIfNone` is set: two replicas may start at once. */
  insert(key: StoredKey, options: { onlyIfNone: boolean; audit: AuditEvent }): Promise<boolean>;
  retire(id: string, at: Date, audit: AuditEvent): Promise<void>;
}

export function createKeys({ prisma }: Database): Keys {
  return {
    list: () =>
      orFault(async () => (await prisma.signingKey.findMany({ orderBy: { createdAt: 'asc' } })).map(fromRow)),
    insert: (key, { onlyIfNone, audit }) =>
      orFault(() =>
        prisma.$transaction(async (tx) => {
          await tx.$queryRaw`select epoch from config_epoch for update`;
          if (onlyIfNone && (await tx.signingKey.count({ where: { purpose: key.purpose } })) > 0)
            return false;
          const { publicJwk, wrapped, ...rest } = key;
          const jwk = publicJwk === null ? {} : { publicJwk: publicJwk as Prisma.InputJsonValue };
          await tx.signingKey.create({ data: { ...rest, ...jwk, wrapped: new Uint8Array(wrapped) } });
          // Replicas load keys with the epoch: raising it makes the new one known everywhere.
          await tx.configEpoch.update({ where: { one: true }, data: { epoch: { increment: 1 } } });
          await tx.$executeRaw`select append_audit(${JSON.stringify(encodeAudit(audit))}::jsonb)`;
          return true;
        }),
      ),
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
