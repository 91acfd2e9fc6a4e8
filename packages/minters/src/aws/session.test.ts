import { createServer } from 'node:http';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type Cloud, outcome, startCloud } from '../../test/cloud.ts';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { awsProvider, awsRequest, now, role, taskId } from '../../test/plans.ts';
import { createConnections } from './call.ts';
import { createAwsMinter } from './minter.ts';
import { parseAwsProvider } from './provider.ts';
import { assume, checkCredentials } from './session.ts';

let answers: Record<string, string> = {};
let url = '';
const sts = createServer((request, response) => {
  let form = '';
  request.on('data', (chunk) => {
    form += String(chunk);
  });
  request.on('end', () => {
    const action = new URLSearchParams(form).get('Action') ?? '';
    const inner = `<${action}Result>${answers[action] ?? ''}</${action}Result>`;
    response.writeHead(200, { 'content-type': 'text/xml' });
    response.end(
      `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${inner}</${action}Response>`,
    );
  });
});

beforeAll(async () => {
  await new Promise<void>((resolve) => sts.listen(0, '127.0.0.1', resolve));
  const address = sts.address();
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
});
afterAll(async () => {
  sts.closeAllConnections();
  await new Promise((resolve) => sts.close(resolve));
});
afterEach(() => {
  answers = {};
});

const xml = (members: Readonly<Record<string, string | undefined>>) =>
  Object.entries(members)
    .map(([name, value]) => (value === undefined ? '' : `<${name}>${value}</${name}>`))
    .join('');
const good = {
  AccessKeyId: 'ASIA1',
  SecretAccessKey: 'secret',
  SessionToken: 'token',
  Expiration: '2026-11-23T12:15:00Z',
};
const sessionName = 'mf-0123456789012345678901234567890123456789';
const arn = `arn:aws:sts::123456789012:assumed-role/finance/${sessionName}`;
const sourceIdentity = 'mf-01M844DZQTEC1R60R30C1G60R3-1';
const assumed = (
  more: { credentials?: object; arn?: string | undefined; sourceIdentity?: string | undefined } = {},
) => {
  const told = { arn, sourceIdentity, ...more };
  const user = told.arn === undefined ? undefined : xml({ AssumedRoleId: 'AROA:x', Arn: told.arn });
  const Credentials = xml({ ...good, ...told.credentials });
  return xml({ Credentials, AssumedRoleUser: user, SourceIdentity: told.sourceIdentity });
};
const federation = { sign: async () => 'header.payload.signature' };
const connections = createConnections();
const context = () => ({ federation, connections, now, signal: AbortSignal.timeout(20_000) });
const assuming = (answer: string, spec: object = {}) => {
  answers = { AssumeRoleWithWebIdentity: answer };
  const provider = parseAwsProvider(awsProvider({ endpoints: { sts: url }, ...spec }));
  const request = { provider, purpose: 'mint' as const, role, sessionName, sourceIdentity, policy: null };
  return assume({ ...request, durationSeconds: 900 }, context());
};
const refusal = (answer: string, spec?: object) => outcome(() => assuming(answer, spec));
const lie = (what: string) => `provider_refused (unknown): the provider answered ${what}`;

test('takes complete keys of the identity and life that were asked for', async () => {
  const session = await assuming(assumed());
  expect(session.keys.reveal()).toEqual({
    accessKeyId: 'ASIA1',
    secretAccessKey: 'secret',
    sessionToken: 'token',
  });
  expect([session.expiresAt, session.arn]).toEqual([new Date('2026-11-23T12:15:00Z'), arn]);
  expect(JSON.stringify(session)).not.toMatch(/secret"|token"/);
});

test.each([
  ['another account', arn.replace('123456789012', '999999999999')],
  ['another role', arn.replace('finance', 'admin')],
  ['another session', arn.replace(sessionName, 'other')],
  ['another partition', arn.replace('arn:aws:', 'arn:aws-cn:')],
  ['a user', 'arn:aws:iam::123456789012:user/finance'],
  ['the right end of another name', `arn:aws:iam::123456789012:x:assumed-role/finance/${sessionName}`],
  ['nobody', undefined],
  ['nothing', ''],
])('refuses a session of %s', async (_, told) => {
  expect(await refusal(assumed({ arn: told }))).toBe(lie('another identity than asked for'));
});

test.each([
  ['without one', undefined],
  ['of another grant', 'mf-00000000000000000000000000-1'],
  ['of another generation', sourceIdentity.replace(/1$/, '2')],
  ['in lower case', sourceIdentity.toLowerCase()],
])('refuses a session with a SourceIdentity %s: it could not be denied', async (_, told) => {
  expect(await refusal(assumed({ sourceIdentity: told }))).toBe(lie('another SourceIdentity than asked for'));
});

test.each([{ revoke: 'none' }, { denyBy: 'sessionName' }])(
  'asks no SourceIdentity where none is denied: %j',
  async (spec) => {
    expect(await refusal(assumed({ sourceIdentity: undefined }), spec)).toBe('ok');
  },
);

test.each(['AccessKeyId', 'SecretAccessKey', 'SessionToken', 'Expiration'])(
  'refuses credentials without %s',
  async (name) => {
    expect(await refusal(assumed({ credentials: { [name]: undefined } }))).toBe(
      lie('incomplete credentials'),
    );
  },
);

test.each(['AccessKeyId', 'SecretAccessKey', 'SessionToken'])(
  'refuses credentials with an empty %s',
  async (name) => {
    expect(await refusal(assumed({ credentials: { [name]: '' } }))).toBe(lie('incomplete credentials'));
  },
);

test('refuses an answer without credentials, and one of nothing at all', async () => {
  expect(await refusal(xml({ AssumedRoleUser: xml({ Arn: arn }), SourceIdentity: sourceIdentity }))).toBe(
    lie('incomplete credentials'),
  );
  expect(await refusal('')).toBe(lie('another identity than asked for'));
});

test('an end that cannot be read is a fault, and something may exist', async () => {
  expect(await refusal(assumed({ credentials: { Expiration: 'never' } }))).toMatch(
    /^provider_unavailable \(unknown\): AssumeRoleWithWebIdentity: \w+ 200$/,
  );
});

test('a life longer than asked is refused beyond the difference of two clocks', () => {
  const at = (seconds: number) => ({ ...good, Expiration: new Date(now.getTime() + seconds * 1000) });
  const asked = { now, durationSeconds: 60, arn, sts: url };
  expect(checkCredentials(at(90), asked).expiresAt).toEqual(at(90).Expiration);
  expect(() => checkCredentials(at(90.001), asked)).toThrow(
    expect.objectContaining({ reason: 'provider_refused', effect: 'unknown' }),
  );
  expect(() => checkCredentials({ ...good, Expiration: new Date(Number.NaN) }, asked)).toThrow(
    expect.objectContaining({ reason: 'provider_refused' }),
  );
});

const minter = () =>
  createAwsMinter({
    federation,
    deny: new MemoryDenyStore(() => now),
    provider: () => awsProvider({ endpoints: { sts: url } }),
    now: () => now,
    report: () => undefined,
  });

async function scoped(members: Readonly<Record<string, string | undefined>>) {
  const own = minter();
  const plan = own.plan(awsRequest({ provider: awsProvider({ endpoints: { sts: url } }) }));
  const base = own.base?.(plan, { issuanceId: taskId, now });
  if (base === undefined) throw new TypeError('no base');
  const name = String(base.body['sessionName']);
  answers = {
    AssumeRoleWithWebIdentity: assumed({ arn: arn.replace(sessionName, name), sourceIdentity: plan.reach }),
  };
  await own.mint(base, { now, signal: AbortSignal.timeout(20_000) });
  const Arn = members['Arn'] ?? arn.replace(sessionName, name);
  answers = {
    GetScopedCredentials: xml({
      Credentials: xml({ ...good, Expiration: '2026-11-23T12:01:00Z', ...members }),
      SessionInfo: xml({ ScopedSessionId: 'x', Arn }),
      SourceIdentity: members['SourceIdentity'] ?? plan.reach,
    }),
  };
  return outcome(() => own.mint(plan, { now, signal: AbortSignal.timeout(20_000) }));
}

test('a scoped session is that of its base, complete, and no longer', async () => {
  expect(await scoped({})).toBe('ok');
  expect(await scoped({ Arn: arn })).toBe(lie('another identity than asked for'));
  expect(await scoped({ SourceIdentity: 'mf-other-1' })).toBe(lie('another identity than asked for'));
  expect(await scoped({ SessionToken: '' })).toBe(lie('incomplete credentials'));
  expect(await scoped({ Expiration: '2026-11-23T12:01:31Z' })).toBe(lie('a longer life than asked for'));
});

test('a provider that rounds up answers no later end than the plan', async () => {
  const own = minter();
  const plan = own.plan(awsRequest({ provider: awsProvider({ endpoints: { sts: url } }) }));
  answers = {
    AssumeRoleWithWebIdentity: assumed({
      arn: arn.replace(sessionName, String(plan.body['sessionName'])),
      sourceIdentity: plan.reach,
    }),
  };
  const minted = await own.mint(plan, { now, signal: AbortSignal.timeout(20_000) });
  expect(minted.expiresAt.toISOString()).toBe(plan.notAfter);
});

test('the ambient identity of the broker is used where the provider says so', async () => {
  const cloud: Cloud = await startCloud({}, { spec: { auth: 'ambient' } });
  const before = { ...process.env };
  try {
    process.env['AWS_ACCESS_KEY_ID'] = cloud.aws.root.accessKeyId;
    process.env['AWS_SECRET_ACCESS_KEY'] = cloud.aws.root.secretAccessKey;
    delete process.env['AWS_SESSION_TOKEN'];
    const own = createAwsMinter(cloud.options);
    const plan = cloud.plan(own);
    const minted = await own.mint(plan, cloud.context());
    expect(minted.expiresAt.toISOString()).toBe(plan.notAfter);
    expect([cloud.calls('AssumeRole'), cloud.signed]).toEqual([1, []]);
  } finally {
    process.env = before;
    await cloud.close();
  }
});
