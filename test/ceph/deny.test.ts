import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, expect } from '@jest/globals';
import type { Minted, MintPlan } from '@mayfly/core';
import { cephTest, endpoint } from './here.ts';
import { openScene, requestOf, underTest } from './scene.ts';

const scene = await openScene();
afterAll(() => scene?.federation.close());

const context = () => ({ now: new Date(), signal: AbortSignal.timeout(20_000) });

/** Status of an unmodified SDK that reads the object of the plan. */
async function read(minted: Minted, Bucket: string): Promise<number> {
  const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(minted.credential.reveal());
  const s3 = new S3Client({
    endpoint: String(endpoint),
    region: 'eu-west-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken },
  });
  const code = (of: unknown) =>
    Number(Reflect.get(Object(Reflect.get(Object(of), '$metadata')), 'httpStatusCode') ?? 0);
  return s3
    .send(new GetObjectCommand({ Bucket, Key: 't1/a' }))
    .then(code, code)
    .finally(() => s3.destroy());
}

cephTest(
  'a deny document is felt by whom it names, also beside 160 others; a full one by all before it',
  async () => {
    if (scene === undefined) return;
    const { minter, provider, store } = underTest(scene, 'webIdentity');
    const { bucket, task: role } = scene.account;
    const mint = async (): Promise<{ plan: MintPlan; minted: Minted }> => {
      const plan = minter.plan(requestOf(scene.account, provider));
      return { plan, minted: await minter.mint(plan, context()) };
    };
    /** Ends of other grants, as rows that stand already. */
    const fill = async (count: number) => {
      const neededUntil = new Date(Date.now() + 900_000);
      const names = Array.from(
        { length: count },
        () => minter.plan(requestOf(scene.account, provider)).reach,
      );
      const entries = names.map((sourceIdentity) => ({
        sourceIdentity,
        taskId: requestOf(scene.account, provider).taskId,
        neededUntil,
      }));
      const written = await store.request({ provider: provider.name, role }, entries, 1);
      await store.release({ provider: provider.name, role }, written?.version ?? 0);
      return written?.entries.length;
    };
    const [mine, other, third] = [await mint(), await mint(), await mint()];
    const all = async () => [
      await read(mine.minted, bucket),
      await read(other.minted, bucket),
      await read(third.minted, bucket),
    ];
    expect(await all()).toEqual([200, 200, 200]);

    expect(await fill(160)).toBe(160);
    expect(await minter.revoke(mine.plan, context())).toBe('gone');
    expect(await all()).toEqual([403, 200, 200]);

    // No room for each: everything issued before now is denied by its time, and what nobody has ended falls with it.
    expect(await fill(40)).toBe(201);
    expect(await minter.revoke(other.plan, context())).toBe('gone');
    expect(await all()).toEqual([403, 403, 403]);
  },
  60_000,
);
