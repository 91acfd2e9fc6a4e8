import {
  DeleteRolePermissionsBoundaryCommand,
  DeleteRolePolicyCommand,
  GetRoleCommand,
  type IAMClient,
  PutRolePolicyCommand,
  UpdateAssumeRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Inspection } from '@mayfly/core';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { type Cloud, rootIam, startCloud } from '../../test/cloud.ts';
import { createAwsMinter } from './minter.ts';

let issuer: LocalIssuer;
beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());

/** What is found, after `change`, in an account of its own. */
async function inspected(
  { spec = {}, scopedSessions = true }: { spec?: object; scopedSessions?: boolean } = {},
  change: (cloud: Cloud, root: IAMClient) => Promise<unknown> = async () => undefined,
): Promise<readonly Inspection[]> {
  const cloud = await startCloud({ scopedSessions }, { spec, issuer });
  const root = rootIam(cloud);
  try {
    await change(cloud, root);
    const before = cloud.aws.ledger().length;
    const found = await createAwsMinter(cloud.options).inspect?.(cloud.provider, cloud.context());
    // It looks, and writes nothing; what it was given may do nothing.
    const calls = cloud.aws
      .ledger()
      .slice(before)
      .map(({ eventName }) => eventName);
    expect(calls).not.toContain('PutRolePolicy');
    const policies = cloud.aws
      .ledger()
      .filter(({ eventName }) => eventName === 'AssumeRoleWithWebIdentity')
      .flatMap(({ requestParameters }) =>
        requestParameters['sourceIdentity'] === undefined ? [] : requestParameters['policy'],
      );
    for (const policy of policies)
      expect(String(policy)).toMatch(
        /"Effect":"Deny","Action":"\*","Resource":"\*"|:invoices\/mayfly-canary"/,
      );
    return found ?? [];
  } finally {
    root.destroy();
    await cloud.close();
  }
}

const says = (found: readonly Inspection[]) =>
  found.map(({ subject, ok, says: said }) => [subject, ok, said]);

test('a whole account: every role may be assumed, scoped sessions are there, every document can be read', async () => {
  expect(says(await inspected())).toEqual([
    ['mint finance', true, 'may be assumed, and not without a SourceIdentity'],
    ['mint other', true, 'may be assumed, and not without a SourceIdentity'],
    ['scoped sessions', true, 'there: sessions of seconds, cut from one per grant'],
    ['revoke finance', true, 'its deny document can be read (none), sourceIdentity'],
    ['boundary finance', true, 'is mayfly-boundary'],
    ['revoke other', true, 'its deny document can be read (none), sourceIdentity'],
    ['boundary other', true, 'is mayfly-boundary'],
  ]);
});

test('a trust policy that lets sessions in that nothing could take back', async () => {
  const found = await inspected({}, async (cloud, root) => {
    const { Role } = await root.send(new GetRoleCommand({ RoleName: 'finance' }));
    const trust = decodeURIComponent(Role?.AssumeRolePolicyDocument ?? '').replaceAll(
      '"StringLike":{"sts:SourceIdentity":"mf-*"}',
      '"StringLike":{}',
    );
    await root.send(new UpdateAssumeRolePolicyCommand({ RoleName: 'finance', PolicyDocument: trust }));
    expect(cloud.reports).toEqual([]);
  });
  expect(found[0]).toMatchObject({ subject: 'mint finance', ok: false });
  expect(found[0]?.says).toMatch(/without a SourceIdentity.*"StringLike":\{"sts:SourceIdentity":"mf-\*"\}/);
});

test('a role without a boundary, and a reaper that may not look: the command or statement that is missing', async () => {
  const unbounded = await inspected({}, (_, root) =>
    root.send(new DeleteRolePermissionsBoundaryCommand({ RoleName: 'finance' })),
  );
  expect(unbounded.filter(({ ok }) => !ok)).toEqual([
    {
      ...{ subject: 'boundary finance', ok: false },
      says: expect.stringContaining('aws iam put-role-permissions-boundary --role-name finance'),
    },
  ]);
  const blind = await inspected({}, (_, root) => {
    const Statement = [{ Effect: 'Deny', Action: 'iam:GetRole', Resource: '*' }];
    const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement });
    return root.send(new PutRolePolicyCommand({ RoleName: 'reaper', PolicyName: 'blind', PolicyDocument }));
  });
  expect(blind.filter(({ ok }) => !ok).map(({ subject }) => subject)).toEqual([
    'boundary finance',
    'boundary other',
  ]);
  expect(blind.find(({ ok }) => !ok)?.says).toContain('{"Effect":"Allow","Action":"iam:GetRole","Resource":');
});

test('a canary is read with a session that may nothing else; one that is not there says what is missing', async () => {
  const canary = 'arn:aws:s3:::invoices/mayfly-canary';
  const there = await inspected({ spec: { canary } }, async ({ aws }) =>
    aws.putObject('invoices', 'mayfly-canary', 'tweet'),
  );
  expect(there.filter(({ subject }) => subject.startsWith('canary'))).toEqual([
    { subject: 'canary finance', ok: true, says: 'can be read, so a denial can be seen to be felt' },
    { subject: 'canary other', ok: true, says: 'can be read, so a denial can be seen to be felt' },
  ]);
  const absent = await inspected({ spec: { canary } });
  expect(absent.find(({ subject }) => subject === 'canary finance')).toMatchObject({
    ok: false,
    says: expect.stringContaining(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"${canary}"}`),
  });
});

test('an endpoint without scoped sessions is seen, not asked for', async () => {
  const found = await inspected({ scopedSessions: false });
  expect(found[2]).toEqual({
    subject: 'scoped sessions',
    ok: true,
    says: 'not there: each credential is a session whose policy carries its end',
  });
});

test('a provider that takes nothing back says so', async () => {
  const found = await inspected({ spec: { revoke: 'none' } });
  expect(found.at(-1)).toEqual({
    subject: 'revoke',
    ok: true,
    says: 'off: credentials end by expiry alone',
  });
});

test('a role that does not trust us: the statement that is missing', async () => {
  const nobody = {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Deny', Principal: '*', Action: 'sts:AssumeRole' }],
  };
  const found = await inspected({}, (_, root) =>
    root.send(
      new UpdateAssumeRolePolicyCommand({ RoleName: 'finance', PolicyDocument: JSON.stringify(nobody) }),
    ),
  );
  const host = issuer.issuer.replace('http://', '');
  expect(found[0]).toMatchObject({ subject: 'mint finance', ok: false });
  expect(found[0]?.says).toMatch(
    /^AssumeRoleWithWebIdentity: AccessDenied\w* 403; its trust policy needs \{/,
  );
  expect(JSON.parse(found[0]?.says.replace(/^[^{]*/, '') ?? '')).toEqual({
    Effect: 'Allow',
    Principal: { Federated: `arn:aws:iam::123456789012:oidc-provider/${host}` },
    Action: ['sts:AssumeRoleWithWebIdentity', 'sts:SetSourceIdentity'],
    Condition: { StringEquals: { [`${host}:sub`]: 'mayfly:prod-aws:mint' } },
  });
  expect(found.filter(({ ok }) => !ok)).toHaveLength(1);
});

test('a reaper that may not read the documents: the statement that is missing, per role', async () => {
  const found = await inspected({}, (_, root) =>
    root.send(new DeleteRolePolicyCommand({ RoleName: 'reaper', PolicyName: 'reap' })),
  );
  const missing = found.filter(({ ok }) => !ok);
  expect(missing.map(({ subject }) => subject)).toEqual(['revoke finance', 'revoke other']);
  expect(missing[0]?.says).toMatch(
    /^GetRolePolicy: AccessDenied\w* 403; reaper needs \{"Effect":"Allow","Action":\["iam:PutRolePolicy"/,
  );
  expect(missing[0]?.says).toContain('"Resource":"arn:aws:iam::123456789012:role/mayfly/finance"');
});

test('an endpoint that is not there is an answer, not a crash', async () => {
  const endpoints = { sts: 'http://127.0.0.1:1', iam: 'http://127.0.0.1:1' };
  const found = await inspected({ spec: { endpoints } });
  expect(found.map(({ ok }) => ok)).toEqual([false, false, false, false]);
  expect(found[0]?.says).toMatch(/^AssumeRoleWithWebIdentity: /);
});
