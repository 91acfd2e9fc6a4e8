import { AssumeRoleWithWebIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { afterAll, describe, expect } from '@jest/globals';
import { describeMinter } from '../../packages/testkit/src/contracts.ts';
import { cephTest, endpoint } from './here.ts';
import { openScene, providerOf, underTest } from './scene.ts';

// The AWS minter, unchanged, against a system that is not AWS, and what that system asks of our assertions.
const scene = await openScene();
afterAll(() => scene?.federation.close());

if (scene !== undefined)
  for (const auth of ['webIdentity', 'ambient'] as const)
    describeMinter(`the AWS minter against Ceph, ${auth}`, () => underTest(scene, auth));

describe('what is seen of it', () => {
  if (scene === undefined) return cephTest('by the doctor', () => Promise.resolve());
  const inspect = async (spec: object) => {
    const { minter } = underTest(scene, 'webIdentity');
    const provider = providerOf(scene.account, 'webIdentity');
    const changed = { ...provider, spec: { ...provider.spec, ...spec } };
    return minter.inspect?.(changed, { now: new Date(), signal: AbortSignal.timeout(20_000) });
  };
  cephTest('by the doctor: no scoped sessions, and all that is needed', async () => {
    const found = (await inspect({})) ?? [];
    expect(found.map(({ ok, says }) => [ok, says])).toEqual([
      [true, 'may be assumed'],
      [true, 'not there: each credential is a session whose policy carries its end'],
      [true, expect.stringMatching(/^its deny document can be read \((none|there)\), sessionName$/)],
    ]);
  });
  cephTest('by the doctor: no SourceIdentity, where the document counts on it', async () => {
    const [first] = (await inspect({ denyBy: 'sourceIdentity' })) ?? [];
    expect([first?.ok, first?.says]).toEqual([
      false,
      'answers no SourceIdentity, so nothing could be taken back; write denyBy: sessionName',
    ]);
  });
  return undefined;
});

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
    issuer.sign({ provider: 'ceph', purpose: 'mint', audience: 'sts.amazonaws.com', ...more });

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
