import { type Database, orFault } from './database.ts';
import type { Prisma } from './generated/client.ts';

export interface RememberedAnswer {
  readonly bodyDigest: string;
  readonly status: number;
  readonly body: unknown;
}

/** How long an Idempotency-Key belongs to its first answer (contract.md section 5). */
const keptMs = 86_400_000;

/** Answers of /v1 under an Idempotency-Key; never one with a secret. Digests are hex. */
export function createAnswers({ prisma }: Database) {
  return {
    recallAnswer: (digest: string): Promise<RememberedAnswer | undefined> =>
      orFault(async () => {
        const row = await prisma.idempotency.findUnique({ where: { digest: bytes(digest) } });
        if (row === null || row.expiresAt <= new Date() || row.bodyDigest === null || row.status === null)
          return undefined;
        return { bodyDigest: row.bodyDigest, status: row.status, body: row.body };
      }),
    rememberAnswer: (answer: RememberedAnswer & { readonly digest: string }): Promise<void> =>
      orFault(async () => {
        const { digest, bodyDigest, status } = answer;
        const body = answer.body as Prisma.InputJsonValue;
        const data = { bodyDigest, status, body, expiresAt: new Date(Date.now() + keptMs) };
        await prisma.idempotency.upsert({
          where: { digest: bytes(digest) },
          create: { digest: bytes(digest), ...data },
          update: data,
        });
      }),
  };
}

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}
