import { type Database, orFault } from './database.ts';
import { digestBytes } from './encode.ts';

export interface RememberedAnswer {
  readonly status: number;
  readonly body: unknown;
}

export type Reserved =
  | { readonly kind: 'reserved' }
  | { readonly kind: 'answered'; readonly answer: RememberedAnswer }
  | { readonly kind: 'in_progress' }
  /** The key was used with another body. */
  | { readonly kind: 'conflict' };

/** How long an Idempotency-Key belongs to its first answer (contract.md section 5). */
const keptSeconds = 86_400;
/** A replica that died while answering holds the key no longer: above the longest request. */
const pendingSeconds = 60;

/** Answers of /v1 under an Idempotency-Key; never one with a secret. Digests are hex; times are the database's. */
export function createAnswers(database: Database) {
  const { prisma } = database;
  return {
    /** Takes the key for this body, or says whose it is. One statement, so that of two at once one wins. */
    reserveAnswer: (digest: string, bodyDigest: string): Promise<Reserved> =>
      orFault(() => reserve(database, digest, bodyDigest)),
    rememberAnswer: (digest: string, { status, body }: RememberedAnswer): Promise<void> =>
      orFault(async () => {
        const text = `update idempotency set status = $2, body = $3::jsonb,
          expires_at = clock_timestamp() + make_interval(secs => $4) where digest = decode($1, 'hex')`;
        const values = [digest, status, JSON.stringify(body), keptSeconds];
        await database.call('remember_answer', text, values);
      }),
    /** Nothing was done: the key is free again. */
    releaseAnswer: (digest: string): Promise<void> =>
      orFault(async () => {
        const where = { digest: digestBytes(digest), status: null };
        await prisma.idempotency.deleteMany({ where });
      }),
  };
}

async function reserve(database: Database, digest: string, bodyDigest: string): Promise<Reserved> {
  const text = `insert into idempotency as i (digest, body_digest, expires_at)
    values (decode($1, 'hex'), $2, clock_timestamp() + make_interval(secs => $3))
    on conflict (digest) do update set body_digest = excluded.body_digest, expires_at = excluded.expires_at,
      status = null, body = null where i.expires_at <= clock_timestamp()
    returning true as mine`;
  const [mine] = await database.call('reserve_answer', text, [digest, bodyDigest, pendingSeconds]);
  if (mine !== undefined) return { kind: 'reserved' };
  const row = await database.prisma.idempotency.findUnique({
    where: { digest: digestBytes(digest) },
  });
  if (row === null) return { kind: 'in_progress' }; // Released meanwhile: the next try takes it.
  if (row.bodyDigest !== bodyDigest) return { kind: 'conflict' };
  if (row.status === null) return { kind: 'in_progress' };
  return { kind: 'answered', answer: { status: row.status, body: row.body } };
}
