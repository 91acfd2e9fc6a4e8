import type { AuditEvent } from '@mayfly/core';
import { type Database, orFault } from './database.ts';
import { encodeAudit } from './encode.ts';
import { Prisma } from './generated/client.ts';
import { createSeal, type Seal, type SealContext } from './sign-in-seal.ts';

export interface SignInRow {
  /** What kind of thing: a model of oidc-provider, or `Person`. */
  readonly model: string;
  /** As its holder has it; only the digest is stored. */
  readonly id: string;
  readonly payload: object;
  readonly lifeSeconds: number;
  readonly grantId?: string | undefined;
  readonly uid?: string | undefined;
  readonly userCode?: string | undefined;
}

export interface SignInFound {
  readonly payload: Readonly<Record<string, unknown>>;
  readonly consumedAt: Date | null;
}

/** A live token with the person of its grant. */
export interface SignedIn {
  readonly token: Readonly<Record<string, unknown>>;
  readonly person: Readonly<Record<string, unknown>>;
}

/** Rows of people's sign-in. Expiry is the database's, everything that must happen once is one statement. */
export interface SignInRows {
  /** Makes the row or replaces it. `audit` is written in the same transaction. */
  put(row: SignInRow, audit?: AuditEvent): Promise<void>;
  /** Makes the row; false when it was there already: of any number at once one is told true. */
  putOnce(row: SignInRow): Promise<boolean>;
  /** Also a row that has expired, until it is swept: whoever comes late is told so. */
  find(model: string, id: string): Promise<SignInFound | undefined>;
  findBy(kind: 'uid' | 'user_code', model: string, value: string): Promise<SignInFound | undefined>;
  /** Of any number at once one is told true. */
  consume(model: string, id: string): Promise<boolean>;
  destroy(model: string, id: string): Promise<void>;
  revokeGrant(model: string, grantId: string): Promise<void>;
  /** The grant and its person: every token beneath is dead from here on, also one that is being made now. */
  destroyGrant(grantId: string): Promise<void>;
  /** False when the last poll of this code was less than the interval ago. */
  poll(model: string, id: string, intervalMs: number): Promise<boolean>;
  signedIn(token: string): Promise<SignedIn | undefined>;
  /** Ends the sign-in of this token. False, and no audit row, when there is none (any more). */
  end(token: string, audit: (found: SignedIn) => AuditEvent): Promise<boolean>;
}

/** Past its expiry a row is kept this long, so that a late poll hears `expired_token` and not that it never was. */
export const signInKeptSeconds = 600;

export function createSignIn(database: Database, secret: () => Buffer): SignInRows {
  const { prisma } = database;
  const seal = createSeal(secret);
  return {
    put: (row, audit) =>
      orFault(async () => {
        const write = prisma.$executeRaw(upsert(columnsOf(row, seal)));
        if (audit === undefined) await write;
        else await prisma.$transaction([write, appended(audit, database)]);
      }),
    putOnce: (row) =>
      orFault(
        async () =>
          (await prisma.$executeRaw(
            Prisma.sql`${insert(columnsOf(row, seal))} on conflict (model, id) do nothing`,
          )) === 1,
      ),
    find: (model, id) =>
      orFault(async () => {
        const where = { model_id: { model, id: seal.idOf(id) } };
        return opened(await prisma.signIn.findUnique({ where }), seal);
      }),
    findBy: (kind, model, value) =>
      orFault(async () => {
        const index = seal.indexOf(kind, value);
        const where = kind === 'uid' ? { uid: index } : { userCode: index };
        return opened(await prisma.signIn.findFirst({ where: { model, ...where } }), seal);
      }),
    ...changes(database, seal),
    signedIn: (token) => orFault(async () => (await findSignedIn(prisma, token, seal))?.signedIn),
    end: (token, audit) => orFault(() => end(database, { token, audit, seal })),
  };
}

function changes({ prisma }: Database, seal: Seal) {
  return {
    consume: (model: string, id: string) =>
      orFault(async () => {
        const changed = await prisma.$executeRaw`update sign_in set consumed_at = clock_timestamp()
          where model = ${model} and id = ${seal.idOf(id)} and consumed_at is null`;
        return changed === 1;
      }),
    destroy: (model: string, id: string) =>
      orFault(async () => void (await prisma.signIn.deleteMany({ where: { model, id: seal.idOf(id) } }))),
    revokeGrant: (model: string, grantId: string) =>
      orFault(
        async () => void (await prisma.signIn.deleteMany({ where: { model, grantId: seal.idOf(grantId) } })),
      ),
    destroyGrant: (grantId: string) =>
      orFault(async () => void (await prisma.signIn.deleteMany({ where: ofGrant(seal.idOf(grantId)) }))),
    poll: (model: string, id: string, intervalMs: number) =>
      orFault(async () => {
        const key = seal.idOf(id);
        const changed = await prisma.$executeRaw`update sign_in set polled_at = clock_timestamp()
          where model = ${model} and id = ${key}
            and (polled_at is null or polled_at <= clock_timestamp() - make_interval(secs => ${intervalMs / 1000}))`;
        return changed === 1 || (await prisma.signIn.count({ where: { model, id: key } })) === 0;
      }),
  };
}

function ofGrant(grantId: Uint8Array<ArrayBuffer>) {
  return { OR: [{ grantId }, { model: { in: ['Grant', 'Person'] }, id: grantId }] };
}

interface Columns {
  readonly model: string;
  readonly id: Uint8Array;
  readonly payload: Uint8Array;
  readonly grantId: Uint8Array | null;
  readonly uid: Uint8Array | null;
  readonly userCode: Uint8Array | null;
  readonly lifeSeconds: number;
}

function columnsOf({ model, id, payload, lifeSeconds, ...row }: SignInRow, seal: Seal): Columns {
  const key = seal.idOf(id);
  const grantId = row.grantId === undefined ? null : seal.idOf(row.grantId);
  return {
    model,
    id: key,
    payload: seal.seal(payload, { model, id: key, grantId }),
    grantId,
    uid: row.uid === undefined ? null : seal.indexOf('uid', row.uid),
    userCode: row.userCode === undefined ? null : seal.indexOf('user_code', row.userCode),
    lifeSeconds,
  };
}

function insert({ model, id, payload, grantId, uid, userCode, lifeSeconds }: Columns): Prisma.Sql {
  return Prisma.sql`insert into sign_in (model, id, payload, grant_id, uid, user_code, expires_at)
    values (${model}, ${id}, ${payload}, ${grantId}::bytea, ${uid}::bytea, ${userCode}::bytea,
      clock_timestamp() + make_interval(secs => ${lifeSeconds}))`;
}

/** What happened to a row (consumed, polled) outlives a change of its payload. */
function upsert(columns: Columns): Prisma.Sql {
  return Prisma.sql`${insert(columns)} on conflict (model, id) do update set payload = excluded.payload,
    grant_id = excluded.grant_id, uid = excluded.uid, user_code = excluded.user_code, expires_at = excluded.expires_at`;
}

type StoredRow = SealContext & { readonly payload: Uint8Array; readonly consumedAt: Date | null };

function opened(row: StoredRow | null, seal: Seal): SignInFound | undefined {
  return row === null ? undefined : { payload: seal.open(row.payload, row), consumedAt: row.consumedAt };
}

/** One statement: the token and its person, both unexpired by the database's clock. */
async function findSignedIn(db: Pick<Database['prisma'], '$queryRaw'>, token: string, seal: Seal) {
  const id = seal.idOf(token);
  const [row] = await db.$queryRaw<{ token: Uint8Array; person: Uint8Array; grantId: Uint8Array }[]>`
    select t.payload as token, p.payload as person, t.grant_id as "grantId" from sign_in t
      join sign_in p on p.model = 'Person' and p.id = t.grant_id and p.expires_at > clock_timestamp()
    where t.model = 'AccessToken' and t.id = ${id} and t.expires_at > clock_timestamp()`;
  if (row === undefined) return undefined;
  const grantId = new Uint8Array(row.grantId);
  const signedIn: SignedIn = {
    token: seal.open(row.token, { model: 'AccessToken', id, grantId }),
    person: seal.open(row.person, { model: 'Person', id: grantId, grantId: null }),
  };
  return { grantId, signedIn };
}

async function end(
  { prisma }: Database,
  { token, audit, seal }: { token: string; audit: (found: SignedIn) => AuditEvent; seal: Seal },
): Promise<boolean> {
  return prisma.$transaction(async (tx) => {
    const found = await findSignedIn(tx, token, seal);
    if (found === undefined) return false;
    const { count } = await tx.signIn.deleteMany({ where: { model: 'Person', id: found.grantId } });
    if (count === 0) return false; // Another one ended it just now, and has said so.
    await tx.signIn.deleteMany({ where: ofGrant(found.grantId) });
    const event = JSON.stringify(encodeAudit(audit(found.signedIn)));
    await tx.$executeRaw`select append_audit(${event}::jsonb)`;
    return true;
  });
}

function appended(audit: AuditEvent, { prisma }: Database) {
  return prisma.$executeRaw`select append_audit(${JSON.stringify(encodeAudit(audit))}::jsonb)`;
}
