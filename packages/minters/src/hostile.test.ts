import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CallContext, Provider } from '@mayfly/core';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { type Cloud, outcome, startCloud } from '../test/cloud.ts';
import { MemoryDenyStore } from '../test/deny-store.ts';
import { type GcpCloud, gcpProvider, objectRequest, startGcpCloud } from '../test/gcp-cloud.ts';
import { type Hostile, type HostileAnswer, startHostile } from '../test/hostile.ts';
import { createAwsMinter } from './aws/minter.ts';
import { createGcpMinter } from './gcp/minter.ts';

/** Of one answer, with what the sockets hold: a minter breaks off long before the whole. */
const takenMax = 8 * 1024 * 1024;

let issuer: LocalIssuer;
let aws: Cloud;
let gcp: GcpCloud;
beforeAll(async () => {
  issuer = await startIssuer();
  aws = await startCloud({}, { issuer });
  gcp = await startGcpCloud();
});
afterAll(async () => {
  await aws.close();
  await gcp.close();
  await issuer.close();
});

/** A call that meets this answer at one place of a cloud that is else as it should be. */
type Call = (hostile: string, context: CallContext) => Promise<unknown>;

const awsAt =
  (place: 'sts' | 'iam'): Call =>
  (hostile, context) => {
    const own = { sts: aws.aws.url, iam: aws.aws.url, s3: aws.aws.url, [place]: hostile };
    const provider: Provider = { ...aws.provider, spec: { ...aws.provider.spec, endpoints: own } };
    const minter = createAwsMinter({
      ...aws.options,
      provider: () => provider,
      // What is in doubt holds its writer's lease.
      deny: new MemoryDenyStore(aws.now),
    });
    const plan = aws.plan(minter, { provider });
    return place === 'sts' ? minter.mint(plan, context) : minter.revoke(plan, context);
  };

const gcpAt =
  (place: 'sts' | 'iamcredentials'): Call =>
  (hostile, context) => {
    const own = { sts: gcp.gcp.url, iamcredentials: gcp.gcp.url, storage: gcp.gcp.url, [place]: hostile };
    const provider = gcpProvider({ endpoints: own });
    const minter = createGcpMinter({ ...gcp.options, provider: () => provider });
    return minter.mint(minter.plan(objectRequest({ ...gcp.timed(), provider })), context);
  };

const places: readonly (readonly [string, Call])[] = [
  ['AWS STS', awsAt('sts')],
  ['AWS IAM', awsAt('iam')],
  ['Google STS', gcpAt('sts')],
  ['IAM Credentials', gcpAt('iamcredentials')],
];

async function against(answer: HostileAnswer, run: (hostile: Hostile) => Promise<void>): Promise<void> {
  const hostile = await startHostile(answer);
  try {
    await run(hostile);
  } finally {
    await hostile.close();
  }
}

const context = (signal = AbortSignal.timeout(20_000)) => ({ now: new Date(), signal });

describe.each(places)('%s', (_, call) => {
  test('an answer of 30 MiB is broken off', () =>
    against('huge', async (hostile) => {
      expect(await outcome(() => call(hostile.url, context()))).toMatch(/^provider_unavailable /);
      expect(hostile.asked).not.toHaveLength(0);
      expect(hostile.taken()).toBeLessThan(takenMax);
    }));

  test('an answer that never ends does so with the call', () =>
    against('endless', async (hostile) => {
      const controller = new AbortController();
      const asked = hostile.next();
      const told = outcome(() => call(hostile.url, context(controller.signal)));
      await asked;
      controller.abort();
      expect(await told).toMatch(/^provider_unavailable /);
    }));

  test('a redirect is not followed: what is sent there is for nobody else', () =>
    against('endless', async (elsewhere) =>
      against({ redirect: `${elsewhere.url}/taken` }, async (hostile) => {
        expect(await outcome(() => call(hostile.url, context()))).toMatch(/^provider_/);
        expect(hostile.asked).not.toHaveLength(0);
        expect(elsewhere.asked).toEqual([]);
      }),
    ));
});
