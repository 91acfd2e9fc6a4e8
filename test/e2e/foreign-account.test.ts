import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type AwsStandin, startAws } from '@mayfly/standins';
import { runDemo } from '../../apps/cli/src/dev/demo.ts';
import { startWorld, type World } from './world.ts';

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
