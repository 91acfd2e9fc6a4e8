import { expect, test } from '@jest/globals';
import { compileDocuments, compileTemplate, parseDocuments, parseSeconds, reopenDocument } from './index.ts';

const brokerIssuer = 'https://mayfly.example';

function setOf(...texts: readonly string[]) {
  const { documents, errors } = parseDocuments(texts.map((text, at) => ({ file: `${at}.yaml`, text })));
  expect(errors).toEqual([]);
  return compileDocuments(
    documents.map(({ document }) => ({ version: 7, document })),
    { brokerIssuer },
  );
}

const issuer = (name: string, more = '') =>
  `apiVersion: mayfly/v1\nkind: TrustedIssuer\nmetadata: { name: ${name} }\nspec: { type: oidc, issuer: "https://ci.example", subjects: ["job/*"]${more} }\n`;

const template = (grant: string, more = '') =>
  `apiVersion: mayfly/v1\nkind: GrantTemplate\nmetadata: { name: job, owner: team-ci }\nspec:\n  workloads: [{ issuer: ci, match: { sub: [a, "b/*"] }, bind: [run_id] }]\n  grants:\n    - { name: one, tool: s3.read, resource: "arn:aws:s3:::b/**", ${grant} }\n${more}`;

const aws = 'mint: { provider: cloud, access: s3.object }, actions: [read]';

test('durations are whole seconds, strictly', () => {
  expect([parseSeconds('60s'), parseSeconds('30m'), parseSeconds('1h'), parseSeconds('7d')]).toEqual([
    60, 1800, 3600, 604_800,
  ]);
  for (const text of ['60', '0s', '-1s', '1.5h', ' 1s', '1s ', '1 s', '1S', '01s', '1e3s', '900000000s', ''])
    expect(parseSeconds(text)).toBeNaN();
});

test('the broker’s issuer is the audience unless the document says another', () => {
  expect(setOf(issuer('ci')).issuers.get('https://ci.example')?.audience).toBe(brokerIssuer);
  const other = setOf(issuer('ci', ', audience: "https://other.example"'));
  expect(other.issuers.get('https://ci.example')?.audience).toBe('https://other.example');
});

test('of two documents for one issuer neither is trusted', () => {
  expect(setOf(issuer('ci'), issuer('ci2')).issuers.size).toBe(0);
});

test('the provider `token` exists without a document', () => {
  expect(setOf().providers.get('token')).toEqual({ name: 'token', type: 'token', spec: {} });
});

test('a template keeps its version, and missing lists stay empty', () => {
  const compiled = setOf(
    'apiVersion: mayfly/v1\nkind: GrantTemplate\nmetadata: { name: empty }\nspec: {}\n',
  ).templates.get('empty');
  expect(compiled).toMatchObject({ version: 7, workloads: [], grants: [], mode: 'enforce', owner: null });
  expect(compiled?.openers).toEqual([{ kind: 'self' }]);
  expect(compiled?.task).toEqual({
    maxDurationSeconds: 3600,
    leaseSeconds: 60,
    maxOpen: null,
    opensPerHour: null,
    refClaims: [],
    children: null,
  });
  expect(compiled?.delegation).toEqual({ actor: 'none', actors: [] });
});

test('workloads become patterns, alternatives within one claim', () => {
  const [entry] = setOf(template(aws)).templates.get('job')?.workloads ?? [];
  expect(entry?.issuerName).toBe('ci');
  expect(entry?.bind).toEqual(['run_id']);
  expect(entry?.match['sub']?.map((pattern) => pattern.matches('b/x'))).toEqual([false, true]);
});

test.each([
  ['nothing said', '', '', 60, 60],
  ['only a maximum', ', ttl: { max: 300s }', '', 60, 300],
  ['a maximum below a minute', ', ttl: { max: 30s }', '', 30, 30],
  ['only a default', ', ttl: { default: 90s }', '', 90, 90],
  ['both', ', ttl: { default: 90s, max: 120s }', '', 90, 120],
  ['shared', '', '  defaults: { ttl: { default: 90s, max: 120s } }\n', 90, 120],
  ['own before shared', ', ttl: { max: 60s }', '  defaults: { ttl: { default: 90s, max: 120s } }\n', 60, 60],
])('the life of a credential with %s', (_, ttl, more, defaultSeconds, maxSeconds) => {
  const [grant] = setOf(template(aws + ttl, more)).templates.get('job')?.grants ?? [];
  expect(grant?.ttl).toEqual({ defaultSeconds, maxSeconds });
});

test('a tool token has access `token`, and limits left out are none', () => {
  const [grant] =
    setOf(template('mint: { provider: token, server: tools }')).templates.get('job')?.grants ?? [];
  expect(grant).toMatchObject({
    provider: 'token',
    access: 'token',
    mint: { provider: 'token', server: 'tools' },
    actions: [],
    endsWithinSeconds: null,
    budget: { exchanges: null, perMinute: null },
  });
});

test('openers are the workload itself, a role or a subject', () => {
  const text = template(aws).replace(
    'spec:\n',
    'spec:\n  openers: [self, { role: orchestrator }, { issuer: ci, match: { sub: argo } }]\n',
  );
  const openers = setOf(text).templates.get('job')?.openers;
  expect(openers?.map(({ kind }) => kind)).toEqual(['self', 'role', 'subject']);
});

test('a stored document opens again as it was, and compiles to the same', () => {
  const { documents } = parseDocuments([{ file: 'a.yaml', text: template(aws) }]);
  const [parsed] = documents;
  const opened = reopenDocument(JSON.parse(JSON.stringify(parsed?.document)));
  expect(opened).toEqual(parsed?.document);
  if (opened.kind !== 'GrantTemplate') throw new Error('another kind');
  expect(JSON.stringify(compileTemplate(opened, 1))).toBe(
    JSON.stringify({ ...setOf(template(aws)).templates.get('job'), version: 1 }),
  );
});

test.each([null, {}, { kind: 'Policy' }, { kind: 'toString' }, { kind: 'Provider' }])(
  'a stored body that no schema accepts throws: %j',
  (body) => {
    expect(() => reopenDocument(body)).toThrow();
  },
);
