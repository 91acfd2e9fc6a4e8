import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, expect, test } from '@jest/globals';
import { type Minted, type MintPlan, type Provider, Refusal } from '@mayfly/core';
import { type CloudFault, type Random, withSeed } from '@mayfly/testkit';
import { bodyMutant, describeMinter, planMutant } from '@mayfly/testkit/contracts';
import { awsScope, callsFor, escapes, lets } from '../../test/aws-scopes.ts';
import { type Cloud, startCloud } from '../../test/cloud.ts';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { awsRequest, policyOf } from '../../test/plans.ts';
import { checkPlan } from '../check.ts';
import { createAwsMinter } from './minter.ts';
import { planAws } from './plan.ts';

const cloud = await startCloud();
/** Has roles of the same names, as two clusters that know no accounts. */
const elsewhere = await startCloud();
afterAll(() => Promise.all([cloud.close(), elsewhere.close()]));

const faults = {
  refused: { mode: 'refuse', status: 403, code: 'AccessDenied' },
  throttled: { mode: 'refuse', status: 400, code: 'Throttling' },
  'not-applied': { mode: 'cut' },
  applied: { mode: 'applied_and_cut' },
  hangs: { mode: 'hold' },
  lies: { mode: 'lie_longer' },
  'lies-identity': { mode: 'lie_identity' },
} as const satisfies Record<CloudFault, object>;

const acceptsAt =
  (at: Cloud) =>
  async (minted: Minted): Promise<boolean> => {
    const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(minted.credential.reveal());
    const credentials = {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: SessionToken,
    };
    const options = { endpoint: at.aws.url, region: 'eu-west-1', forcePathStyle: true, maxAttempts: 1 };
    return new S3Client({ ...options, credentials })
      .send(new GetObjectCommand({ Bucket: 'invoices', Key: '2026q3/a.pdf' }))
      .then(
        () => true,
        () => false,
      );
  };

const freshIds = () => ({ issuanceId: cloud.newId(), grantId: cloud.newId(), taskId: cloud.newId() });

/** A minter of its own, at the stand-in that all share: what that has minted is counted from here. */
function subject(revoke: 'deny-policy' | 'none') {
  cloud.aws.faults.clear();
  const since = cloud.aws.ledger().length;
  const provider = { ...cloud.provider, spec: { ...cloud.provider.spec, revoke } };
  const other = { ...elsewhere.provider, name: 'elsewhere', spec: { ...elsewhere.provider.spec, revoke } };
  let current: Provider = provider;
  const assertions: string[] = [];
  const minter = createAwsMinter({
    ...cloud.options,
    deny: new MemoryDenyStore(cloud.now),
    provider: (name) => (name === other.name ? other : current),
    federation: {
      sign: async (input) => {
        const at = input.provider === other.name ? elsewhere : cloud;
        assertions.push(await at.options.federation.sign(input));
        return assertions.at(-1) ?? '';
      },
    },
  });
  const now = cloud.now();
  const notAfter = new Date((Math.floor(now.getTime() / 1000) + 60) * 1000);
  const arm = (fault: CloudFault) => cloud.aws.faults.arm({ action: '*', ...faults[fault] });
  return {
    minter,
    check: checkPlan,
    // A grant of its own: what one subject has denied stays denied at the stand-in.
    request: awsRequest({ provider, now, notAfter, ...freshIds() }),
    second: {
      request: awsRequest({ provider: other, now, notAfter, ...freshIds() }),
      accepts: acceptsAt(elsewhere),
    },
    move: () => {
      current = { ...provider, spec: { ...provider.spec, endpoints: elsewhere.provider.spec['endpoints'] } };
    },
    resource: 'arn:aws:s3:::invoices/2026q3/**',
    outside: 'arn:aws:s3:::invoices/2026q4/a.pdf',
    opens: (plan: MintPlan, wanted: { action: 'read'; identifier: string }) =>
      callsFor(plan.access, wanted).some((call) => lets(plan, call)),
    scope: (random: Random) => {
      const { request, ...scope } = awsScope(random);
      const spec = {
        ...provider.spec,
        ...request.provider?.spec,
        roles: cloud.provider.spec['roles'],
        revoke,
      };
      return { ...scope, request: { ...request, provider: { ...provider, spec } } };
    },
    secrets: () => assertions,
    reported: () => cloud.reports,
    cloud: {
      failNext: (fault: CloudFault) => void arm(fault),
      plays: ['throttled', 'lies-identity'] as const,
      get hanging() {
        return cloud.aws.faults.taken;
      },
      get minted() {
        return cloud.aws
          .ledger(since)
          .filter(({ responseElements }) => responseElements !== null)
          .filter(({ requestParameters }) => requestParameters['roleArn'] === cloud.role)
          .map(({ requestParameters }) => ({ issuanceId: String(requestParameters['roleSessionName']) }));
      },
      hold: () => {
        const held = cloud.aws.faults.taken;
        return { held, release: arm('hangs') };
      },
      accepts: acceptsAt(cloud),
    },
  };
}

const policyMutant = (name: string, change: (statement: Record<string, unknown>) => object) =>
  planMutant(name, (plan) => {
    const document = Object(policyOf(plan));
    const Statement = document.Statement.map(change);
    return { ...plan, body: { ...plan.body, policy: JSON.stringify({ ...document, Statement }) } };
  });

const mutants = [
  bodyMutant('a session without its policy', { policy: null }),
  bodyMutant('a session of a quarter of an hour', { durationSeconds: 900 }),
  bodyMutant('keys that are asked for elsewhere', { sts: 'https://sts.example' }),
  bodyMutant('an end that would be asked for elsewhere', { iam: 'https://iam.example' }),
  bodyMutant('a session in another role', { role: 'arn:aws:iam::123456789012:role/admin' }),
  bodyMutant('a session that no denial would reach', { sourceIdentity: 'mf-elsewhere-1' }),
  bodyMutant('a session whose name can be guessed', { sessionName: 'mf-agent-1' }),
  policyMutant('a policy for everything', (one) => ({ ...one, Resource: '*' })),
  policyMutant('a policy for whatever starts alike', (one) => ({ ...one, Resource: `${one['Resource']}*` })),
  policyMutant('a policy with every action', (one) => ({ ...one, Action: ['*'] })),
  policyMutant('a policy with the actions of the service', (one) => ({
    ...one,
    Action: String(one['Action'])
      .split(',')
      .map((action) => `${action.split(':')[0]}:*`),
  })),
  policyMutant('a policy without conditions', ({ Condition: _, ...one }) => one),
  policyMutant('a policy without an end', ({ Condition, ...one }) => {
    const { DateLessThan: _, ...rest } = Object(Condition);
    return { ...one, Condition: rest };
  }),
  policyMutant('a policy without an account', ({ Condition, ...one }) => {
    const { StringEquals, ...rest } = Object(Condition);
    const { 'aws:ResourceAccount': _, ...kept } = StringEquals;
    return { ...one, Condition: { ...rest, StringEquals: kept } };
  }),
  planMutant('a promise that the end is felt at once', (plan) => ({
    ...plan,
    ends: { by: 'denied', guaranteedSeconds: 0 },
  })),
  planMutant('a promise of deletion', (plan) => ({ ...plan, ends: { by: 'deleted' } })),
];

describeMinter('the aws minter, with denial', () => subject('deny-policy'), mutants);
describeMinter('the aws minter, where nothing is denied', () => subject('none'), mutants);

/** As many scopes as the suite's own claim takes. */
const scopesMax = 2_000;

test(`of ${scopesMax} generated scopes none lets anything escape by another call, or later`, () =>
  withSeed((random) => {
    let planned = 0;
    for (let count = 0; count < scopesMax; count += 1) {
      const { request } = awsScope(random);
      const asked = awsRequest(request);
      const plan = planOrNone(asked);
      if (plan === undefined) continue;
      planned += 1;
      const open = escapes(plan).filter((call) => lets(plan, call));
      if (open.length > 0) expect({ request, open }).toEqual({ request, open: [] });
      const calls = asked.actions.flatMap((action) =>
        callsFor(plan.access, { action, identifier: plan.identifier }),
      );
      expect(calls.filter((call) => lets(plan, call, plan.notAfter))).toEqual([]);
      const stolen = { 'aws:ResourceAccount': '999999999999' };
      expect(
        calls.filter((call) => lets(plan, { ...call, context: { ...call.context, ...stolen } })),
      ).toEqual([]);
    }
    expect(planned).toBeGreaterThan(scopesMax / 2);
  }));

function planOrNone(request: Parameters<typeof planAws>[0]): MintPlan | undefined {
  try {
    return planAws(request);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
