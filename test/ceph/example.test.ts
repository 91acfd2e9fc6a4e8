import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { form, startWorld, type World } from '../e2e/world.ts';
import { cephTest, endpoint } from './here.ts';

// docs/clouds/ceph.md as it is pasted, and examples/clouds/ceph.yaml as it is applied.
const root = fileURLToPath(new URL('../../', import.meta.url));
const Bucket = 'datasets';
let world: World;
const clients: S3Client[] = [];

beforeAll(async () => {
  if (endpoint === undefined) return;
  const owner = client();
  await owner.send(new CreateBucketCommand({ Bucket }));
  for (const Key of ['weather/parts/1', 'weather/parts/2', 'traffic/parts/1'])
    await owner.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from(Key) }));
  world = await startWorld();
}, 60_000);
afterAll(async () => {
  for (const one of clients) one.destroy();
  await world?.stop();
});

/** Of the owner, by the keys in the environment, or of a credential. */
function client(keys?: { AccessKeyId: string; SecretAccessKey: string; SessionToken: string }): S3Client {
  const made = new S3Client({
    endpoint: String(endpoint),
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    ...(keys === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: keys.AccessKeyId,
            secretAccessKey: keys.SecretAccessKey,
            sessionToken: keys.SessionToken,
          },
        }),
  });
  clients.push(made);
  return made;
}

/** The commands of the page. */
function commands(): string {
  const page = readFileSync(`${root}docs/clouds/ceph.md`, 'utf8');
  return /^```sh\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? '';
}

function shell(script: string): Promise<{ code: number; said: string }> {
  const { PATH = '', HOME = '', AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '' } = process.env;
  const ISSUER = world.running.broker.config.federationIssuer;
  const env = {
    PATH,
    HOME,
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    ISSUER,
    AWS_ENDPOINT_URL: String(endpoint),
  };
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-ec', script], { env, timeout: 60_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), said: out + err }),
    );
  });
}

async function exchange(detail: object) {
  const task = { template: 'dataset-summary', ref: 'example', params: { dataset: 'weather' } };
  const { status, body } = await world.exchange(form(await world.workload(), { task, ...detail }));
  expect([status, body.reason]).toEqual([200, undefined]);
  return client(JSON.parse(body.access_token));
}

const status = (call: Promise<unknown>): Promise<number> => {
  const code = (of: unknown) =>
    Number(Reflect.get(Object(Reflect.get(Object(of), '$metadata')), 'httpStatusCode') ?? 0);
  return call.then(code, code);
};

cephTest(
  'the commands of the page and the documents of the example: list, read and write, each for itself',
  async (ceph) => {
    if ((await shell('command -v aws curl')).code !== 0)
      return console.log('skipped: the AWS CLI or curl is not installed');
    const { code, said } = await shell(commands());
    expect([code, said]).toEqual([0, expect.stringContaining('arn:aws:iam:::role/mayfly/datasets-reaper')]);
    const documents = readFileSync(`${root}examples/clouds/ceph.yaml`, 'utf8');
    const yaml = documents.replaceAll('https://s3.ceph.example', ceph);
    const applied = await world.api('POST', '/v1/apply?set=example', { bearer: await world.person(), yaml });
    expect([applied.status, applied.body.reason]).toEqual([200, undefined]);

    const at = (path: string) => `arn:aws:s3:::${Bucket}/${path}`;
    const finder = await exchange({
      tool: 's3.list',
      identifier: at('weather/parts/'),
      actions: ['read', 'list'],
    });
    const list = (Prefix: string) => status(finder.send(new ListObjectsV2Command({ Bucket, Prefix })));
    expect([await list('weather/parts/'), await list('traffic/parts/'), await list('weather/')]).toEqual([
      200, 403, 403,
    ]);

    const reader = await exchange({ tool: 's3.read', identifier: at('weather/parts/1') });
    const get = (Key: string) => status(reader.send(new GetObjectCommand({ Bucket, Key })));
    expect([
      await get('weather/parts/1'),
      await get('weather/parts/2'),
      await get('traffic/parts/1'),
    ]).toEqual([200, 403, 403]);

    const writer = await exchange({
      tool: 's3.write',
      identifier: at('weather/summary.txt'),
      actions: ['write'],
    });
    const put = (Key: string) =>
      status(writer.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from('x') })));
    expect([await put('weather/summary.txt'), await put('weather/parts/1')]).toEqual([200, 403]);
    return undefined;
  },
  120_000,
);
