import { AssumeRoleWithWebIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { afterAll, describe, expect } from '@jest/globals';
import type { MintRequest, Provider } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { createAwsMinter } from '../../packages/minters/src/aws/minter.ts';
import { checkPlan } from '../../packages/minters/src/check.ts';
import { MemoryDenyStore } from '../../packages/minters/test/deny-store.ts';
import { awsRequest } from '../../packages/minters/test/plans.ts';
import { describeMinter } from '../../packages/testkit/src/contracts.ts';
import { type Account, openAccount } from './account.ts';
import { type Federation, startFederation } from './federation.ts';
import { cephTest, endpoint } from './here.ts';

// The AWS minter, unchanged, against a system that is not AWS, and what that system asks of our assertions.
const name = 'ceph';
const federation = endpoint === undefined ? undefined : await startFederation();
const scene = federation === undefined ? undefined : await openScene(String(endpoint), federation);
afterAll(() => federation?.close());

interface Scene {
  readonly federation: Federation;
  readonly account: Account;
}

async function openScene(ceph: string, issuer: Federation): Promise<Scene> {
  const account = await openAccount(ceph, issuer.issuer, name);
  await account.pin(issuer.thumbprints());
  return { federation: issuer, account };
}

function providerOf({ task, reaper }: Account, auth: 'webIdentity' | 'ambient'): Provider {
  return {
    name,
    type: 'aws',
    spec: {
      type: 'aws',
      region: 'eu-west-1',
      roles: [task],
      auth,
      revoke: 'deny-policy',
      revoker: { role: reaper },
      denyBy: 'sessionName',
      endpoints: { sts: endpoint, iam: endpoint },
    },
  };
}

/** One minute from now, in a grant of its own. */
function requestOf({ bucket }: Account, provider: Provider): MintRequest {
  const now = new Date();
  const id = () => uuidV7(now.getTime(), crypto.getRandomValues(new Uint8Array(10)));
  return awsRequest({
    provider,
    now,
    notAfter: new Date((Math.floor(now.getTime() / 1000) + 60) * 1000),
    issuanceId: id(),
    taskId: id(),
    grantId: id(),
    identifier: `arn:aws:s3:::${bucket}/t1/a`,
    mint: { provider: name, access: 's3.object' },
  });
}

function underTest({ account, federation: { sign } }: Scene, auth: 'webIdentity' | 'ambient') {
  const provider = providerOf(account, auth);
  const minter = createAwsMinter({
    federation: { sign },
    deny: new MemoryDenyStore(() => new Date()),
    provider: () => provider,
    now: () => new Date(),
    report: () => undefined,
  });
  return {
    minter,
    check: checkPlan,
    request: requestOf(account, provider),
    resource: `arn:aws:s3:::${account.bucket}/t1/**`,
    outside: `arn:aws:s3:::${account.bucket}/t2/a`,
  };
}

if (scene !== undefined)
  for (const auth of ['webIdentity', 'ambient'] as const)
    describeMinter(`the AWS minter against Ceph, ${auth}`, () => underTest(scene, auth));

describe('assertions of the federation issuer', () => {
  if (scene === undefined) return cephTest('are judged by Ceph', () => Promise.resolve());
  const { federation: issuer, account } = scene;
  const said = async (token: Promise<string> | string, role = account.task): Promise<string> => {
    const sts = new STSClient({ endpoint: String(endpoint), region: 'us-east-1', maxAttempts: 1 });
    const command = new AssumeRoleWithWebIdentityCommand({
      RoleArn: role,
      RoleSessionName: 'web-identity',
      WebIdentityToken: await token,
      DurationSeconds: 900,
    });
    return sts.send(command).then(
      () => 'taken',
      (error: unknown) =>
        `refused ${Reflect.get(Object(Reflect.get(Object(error), '$metadata')), 'httpStatusCode')}`,
    );
  };
  const of = (more: object = {}) =>
    issuer.sign({ provider: name, purpose: 'mint', audience: 'sts.amazonaws.com', ...more });

  cephTest('are taken for their own role', async () => {
    expect(await said(of())).toBe('taken');
    expect(await said(of({ purpose: 'revoke' }), account.reaper)).toBe('taken');
  });

  cephTest('are refused for another purpose, another provider, another audience', async () => {
    for (const more of [
      { purpose: 'revoke' },
      { provider: 'other' },
      { audience: 'https://elsewhere.example' },
    ])
      expect([more, await said(of(more))]).toEqual([more, expect.stringMatching(/^refused 4/)]);
    expect(await said(of(), account.reaper)).toMatch(/^refused 4/);
  });

  cephTest('are refused with a character changed, and when they have expired', async () => {
    const [head = '', body = '', signature = ''] = (await of()).split('.');
    const claims = Buffer.from(body, 'base64url').toString().replace('mint', 'mine');
    for (const token of [
      [head, Buffer.from(claims).toString('base64url'), signature].join('.'),
      [head, body, `${signature.slice(0, -8)}AAAAAAAA`].join('.'),
      [Buffer.from('{"alg":"none"}').toString('base64url'), body, ''].join('.'),
      'x',
    ])
      expect(await said(token)).toMatch(/^refused [45]/);
    expect(await said(of({ expiresInSeconds: -1 }))).toMatch(/^refused 4/);
  });

  cephTest('are refused where the issuer is registered for another audience', async () => {
    try {
      await account.pin(issuer.thumbprints(), ['https://elsewhere.example']);
      expect(await said(of())).toMatch(/^refused 4/);
    } finally {
      await account.pin(issuer.thumbprints());
    }
    expect(await said(of())).toBe('taken');
  });

  cephTest('are taken after a rotation, once the new certificate is pinned beside the old', async () => {
    await issuer.rotate();
    expect(issuer.thumbprints()).toHaveLength(2);
    await account.pin(issuer.thumbprints());
    expect(await said(of())).toBe('taken');
  });
  return undefined;
});
