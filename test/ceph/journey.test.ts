import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { runDemo } from '../../apps/cli/src/dev/demo.ts';
import { accessTokenType, form, opening, startWorld, type World } from '../e2e/world.ts';
import { cephTest, endpoint } from './here.ts';

// Claims about a whole installation whose cloud is not ours: Ceph's gateway, asked by unmodified clients.
let world: World;

beforeAll(async () => {
  if (endpoint !== undefined) world = await startWorld({ awsEndpoint: endpoint });
}, 60_000);
afterAll(() => world?.stop());

interface Credential {
  readonly keys: { AccessKeyId: string; SecretAccessKey: string; SessionToken: string };
  readonly expiresAt: number;
  readonly task: string;
  readonly taskToken: string;
}

/** One exchange that opens a task of its own. */
async function credential(ttl = 60, detail: object = {}): Promise<Credential> {
  const ref = randomBytes(6).toString('hex');
  const { status, body } = await world.exchange(
    form(await world.workload(), { ...opening(ref), ttl, ...detail }),
  );
  expect([status, body.error, body.reason]).toEqual([200, undefined, undefined]);
  return {
    keys: JSON.parse(body.access_token),
    expiresAt: Date.parse(body.issuance.expires_at),
    task: body.issuance.task,
    taskToken: body.task_token,
  };
}

/** Status of a call of the unmodified SDK. */
async function status({ keys }: Credential, call: (s3: S3Client) => Promise<unknown>): Promise<number> {
  const s3 = new S3Client({
    endpoint: String(endpoint),
    region: 'eu-west-1',
    forcePathStyle: true,
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    credentials: {
      accessKeyId: keys.AccessKeyId,
      secretAccessKey: keys.SecretAccessKey,
      sessionToken: keys.SessionToken,
    },
  });
  const code = (of: unknown) =>
    Number(Reflect.get(Object(Reflect.get(Object(of), '$metadata')), 'httpStatusCode') ?? 0);
  return call(s3)
    .then(code, code)
    .finally(() => s3.destroy());
}

const Bucket = 'invoices';
const get = (of: Credential, Key = '2026q3/a.pdf') =>
  status(of, (s3) => s3.send(new GetObjectCommand({ Bucket, Key })));
const put = (of: Credential, Key = '2026q3/a.pdf') =>
  status(of, (s3) => s3.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from('x') })));
const list = (of: Credential, Prefix?: string) =>
  status(of, (s3) =>
    s3.send(new ListObjectsV2Command({ Bucket, ...(Prefix === undefined ? {} : { Prefix }) })),
  );

async function end({ task, taskToken }: Credential): Promise<void> {
  const { status: code } = await world.api('POST', `/v1/tasks/${task}/end`, {
    bearer: taskToken,
    json: { outcome: 'completed' },
  });
  expect(code).toBe(200);
}

/** Until every issuance of the task is confirmed ended; how they ended. */
async function confirmed(task: string): Promise<string[]> {
  for (;;) {
    const { body } = await world.api('GET', `/v1/issuances?task=${task}`, { bearer: await world.person() });
    const items: { state: string; endedBy: string | null }[] = body.items;
    if (items.every(({ state }) => state === 'ended')) return items.map(({ endedBy }) => String(endedBy));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

cephTest('every step of the demo holds', async (ceph) => {
  const steps = await runDemo(
    {
      broker: world.url,
      s3: ceph,
      cloud: 'Ceph',
      ledger: null,
      workload: () => world.workload(),
      person: () => world.person(),
      ref: `demo-${randomBytes(4).toString('hex')}`,
    },
    ({ title, outcome }) => console.log(`${title}: ${outcome}`),
  );
  expect(steps.filter(({ held }) => !held)).toEqual([]);
  expect(steps).toHaveLength(6);
});

cephTest('AWS SDK: the one object, and neither its neighbours nor another verb', async () => {
  const mine = await credential();
  expect(await get(mine)).toBe(200);
  expect(await get(mine, '2026q3/b.pdf')).toBe(403);
  expect(await get(mine, '2026q4/a.pdf')).toBe(403);
  expect(await put(mine)).toBe(403);
  expect(await put(mine, '2026q3/new.pdf')).toBe(403);
  expect([await list(mine), await list(mine, '2026q3/')]).toEqual([403, 403]);
});

cephTest('boto3: the same', async (ceph) => {
  const mine = await credential();
  const script = `import os
try: import boto3
except ImportError: print('absent'); raise SystemExit
from botocore.exceptions import ClientError
from botocore.config import Config
s3=boto3.client('s3',endpoint_url='${ceph}',region_name='eu-west-1',config=Config(signature_version='s3v4',s3={'addressing_style':'path'},retries={'max_attempts':1}))
def status(call,**more):
  try: return call(Bucket='invoices',**more)['ResponseMetadata']['HTTPStatusCode']
  except ClientError as e: return e.response['ResponseMetadata']['HTTPStatusCode']
print(status(s3.get_object,Key='2026q3/a.pdf'),status(s3.get_object,Key='2026q3/b.pdf'),status(s3.get_object,Key='2026q4/a.pdf'),status(s3.put_object,Key='2026q3/a.pdf',Body=b'x'),status(s3.list_objects_v2),status(s3.delete_object,Key='2026q3/a.pdf'))`;
  const said = await python(script, mine);
  if (said === 'absent') console.log('skipped: boto3 is not installed');
  else expect(said).toBe('200 403 403 403 403 403');
});

cephTest(
  'after the end of a task its unexpired keys are refused, and those of another task are not',
  async () => {
    const [mine, other] = [await credential(), await credential()];
    expect([await get(mine), await get(other)]).toEqual([200, 200]);
    await end(mine);
    expect(new Set(await confirmed(mine.task))).toEqual(new Set(['denied']));
    expect(mine.expiresAt).toBeGreaterThan(Date.now() + 30_000);
    expect([await get(mine), await get(other)]).toEqual([403, 200]);
    // A new task of the same workload, template and resource is not hit by the denial.
    expect(await get(await credential())).toBe(200);
  },
);

cephTest('a suspended task is refused at once, and works again under a new session name', async () => {
  const mine = await credential();
  const second = await again(mine);
  expect(await get(second)).toBe(200);
  const bearer = await world.person();
  await world.api('POST', `/v1/tasks/${mine.task}/suspend`, { bearer, json: { reason: 'suspect' } });
  await confirmed(mine.task);
  expect([await get(mine), await get(second)]).toEqual([403, 403]);
  await world.api('POST', `/v1/tasks/${mine.task}/resume`, { bearer, json: { reason: 'looked at' } });
  const resumed = await again(mine);
  expect([await get(resumed), await get(mine)]).toEqual([200, 403]);
});

/** A further exchange of the same task. */
async function again({ taskToken, task }: Credential): Promise<Credential> {
  const { status: code, body } = await world.exchange(
    form(taskToken, {}, { subject_token_type: accessTokenType }),
  );
  expect([code, body.reason]).toEqual([200, undefined]);
  const keys = JSON.parse(body.access_token);
  return { keys, expiresAt: Date.parse(body.issuance.expires_at), task, taskToken };
}

cephTest(
  'a credential with five seconds left dies after five to seven seconds',
  async () => {
    const mine = await credential(30);
    // The shortest life is 30 s: wait until five are left.
    await new Promise((resolve) => setTimeout(resolve, mine.expiresAt - 5_000 - Date.now()));
    const started = Date.now();
    expect(await get(mine)).toBe(200);
    while ((await get(mine)) === 200) await new Promise((resolve) => setTimeout(resolve, 50));
    const seconds = (Date.now() - started) / 1000;
    console.log(`died after ${seconds.toFixed(1)} s`);
    expect(await get(mine)).toBe(403);
    expect(seconds).toBeGreaterThanOrEqual(4.5);
    expect(seconds).toBeLessThanOrEqual(7);
  },
  60_000,
);

function python(script: string, { keys }: Credential): Promise<string> {
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: keys.AccessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.SecretAccessKey,
    AWS_SESSION_TOKEN: keys.SessionToken,
  };
  return new Promise((resolve) => {
    execFile('python3', ['-c', script], { env, timeout: 25_000 }, (error, stdout, stderr) =>
      resolve(
        error !== null && 'code' in error && error.code === 'ENOENT' ? 'absent' : stdout.trim() || stderr,
      ),
    );
  });
}
