import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type AwsStandin, startAws } from '@mayfly/standins';
import { runDemo } from '../../apps/cli/src/dev/demo.ts';
import { freePort, startWorld, type World } from './world.ts';

// `mayfly dev --aws-endpoint`: an account that is empty but for its owner, here a stand-in of its own.
let aws: AwsStandin;
const before = { ...process.env };

beforeAll(async () => {
  aws = await startAws();
  process.env['AWS_ACCESS_KEY_ID'] = aws.root.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = aws.root.secretAccessKey;
});
afterAll(async () => {
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  await aws.close();
});

const demo = (world: World, more: { s3?: string } = {}) =>
  runDemo(
    {
      broker: world.url,
      s3: aws.url,
      ledger: null,
      cloud: 'another account',
      workload: () => world.workload(),
      person: () => world.person(),
      ref: `demo-${randomBytes(4).toString('hex')}`,
      ...more,
    },
    () => undefined,
  );

test('the account is set up by the owner’s keys, twice, and the demo holds there and nowhere else', async () => {
  for (const start of ['first', 'second']) {
    const world = await startWorld({ awsEndpoint: aws.url });
    try {
      const steps = await demo(world);
      expect([start, ...steps.filter(({ held }) => !held)]).toEqual([start]);
      expect(steps.map(({ outcome }) => outcome)).toEqual([
        '200 by another account',
        '403 by another account',
        'invalid_target / tool_not_granted',
        expect.stringMatching(/^denied in /),
        '403 by another account',
        expect.stringMatching(/ events verified$/),
      ]);
      // The stand-in that every world has knows none of these keys.
      expect((await demo(world, { s3: world.clouds.aws.url }))[0]?.held).toBe(false);
      expect(
        world.clouds.aws.ledger().filter(({ eventSource }) => eventSource !== 's3.amazonaws.com'),
      ).toEqual([]);
    } finally {
      await world.stop();
    }
  }
}, 90_000);

test('what stands in our own stand-in alone is not applied to a system without accounts', async () => {
  const world = await startWorld({
    awsEndpoint: aws.url,
    edit: (text) =>
      text
        .replaceAll('arn:aws:iam::123456789012:', 'arn:aws:iam:::')
        .replace('revoke: deny-policy', 'revoke: deny-policy\n  denyBy: sessionName'),
  });
  try {
    const names = await world.sql<{ name: string }>("select name from document where kind = 'GrantTemplate'");
    expect(names.map(({ name }) => name)).toEqual(['invoice-reconcile']);
  } finally {
    await world.stop();
  }
}, 60_000);

const root = fileURLToPath(new URL('../../', import.meta.url));

/** `npm start -- --once`, as a newcomer types it. */
async function once(endpoint: string, keys: Readonly<Record<string, string>>) {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-foreign-'));
  chmodSync(dir, 0o711);
  const listen = [
    '--listen',
    `127.0.0.1:${await freePort()}`,
    '--ops-listen',
    `127.0.0.1:${await freePort()}`,
  ];
  const args = [
    'start',
    '--silent',
    '--',
    '--once',
    '--aws-endpoint',
    endpoint,
    '--data-dir',
    join(dir, 'data'),
  ];
  const { PATH = '', HOME = '' } = process.env;
  const options = { cwd: root, env: { PATH, HOME, ...keys }, timeout: 60_000 };
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile('npm', [...args, ...listen], options, (error, out, err) => {
      rmSync(dir, { recursive: true, force: true });
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

test('npm start -- --once --aws-endpoint: every step held there, exit 0; no ledger is claimed', async () => {
  const { accessKeyId, secretAccessKey } = aws.root;
  const keys = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
  const { code, out } = await once(aws.url, keys);
  expect([code, out]).toEqual([0, expect.stringContaining(`200 by ${new URL(aws.url).host}`)]);
  expect(out).toMatch(/6 audit +rows rehashed, the cloud shows no ledger/);
  const wrong = await once(aws.url, { ...keys, AWS_SECRET_ACCESS_KEY: 'wrong' });
  expect(wrong.code).toBe(3);
}, 90_000);

const refused: [string, string, Record<string, string>][] = [
  [
    'an endpoint beyond loopback',
    'https://s3.example',
    { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
  ],
  ['a path', 'http://127.0.0.1:1/x', { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' }],
  ['no keys of the owner', 'http://127.0.0.1:1', {}],
];

test.each(refused)('%s is refused before anything starts', async (_, endpoint, keys) => {
  const { code, err } = await once(endpoint, keys);
  expect([code, err]).toEqual([2, expect.stringContaining('--aws-endpoint: ')]);
});
