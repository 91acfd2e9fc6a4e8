import { expect, test } from '@jest/globals';
import { compileDocuments, formatError, lint, parseDocuments } from './index.ts';

const document = (kind: string, name: string, spec: string) =>
  `apiVersion: mayfly/v1\nkind: ${kind}\nmetadata: { name: ${name}, owner: team }\nspec: ${spec}\n`;
const issuer = (spec: string) => document('TrustedIssuer', 'one', spec);
const template = (workload: string) => document('GrantTemplate', 'job', `{ workloads: [${workload}] }`);

function parsed(...texts: readonly string[]) {
  const { documents, errors } = parseDocuments(texts.map((text, at) => ({ file: `${at}.yaml`, text })));
  expect(errors.map(formatError)).toEqual([]);
  return documents;
}

const rulesOf = (...texts: readonly string[]) =>
  lint(parsed(...texts), []).map(({ level, rule }) => `${level} ${rule}`);

const k8s = 'type: kubernetes, issuer: "https://k8s.example", subjects: ["system:serviceaccount:a:*"]';
const spiffe = 'type: spiffe, issuer: "spiffe://prod.example"';
const github = 'type: github, subjects: ["repo:acme*"]';
const gitlab = 'type: gitlab, issuer: "https://gitlab.example", subjects: ["project_path:acme/*"]';

// Each rule beside the document that is as near to it as can be and passes.
test.each([
  [
    'ERROR people-of-machines',
    `{ ${k8s}, maxLifetime: 10m, people: true, replay: once }`,
    `{ ${k8s}, maxLifetime: 10m, people: false }`,
  ],
  [
    'ERROR people-of-machines',
    `{ ${gitlab}, people: true }`,
    '{ type: oidc, issuer: "https://sso.example", subjects: ["a*"], people: true }',
  ],
  ['SECURITY pull-requests', `{ ${github}, pullRequests: accept }`, `{ ${github}, pullRequests: refuse }`],
  [
    'WARN subject-elsewhere',
    `{ ${spiffe}, subjects: ["spiffe://dev.example/**"] }`,
    `{ ${spiffe}, subjects: ["spiffe://prod.example/**"] }`,
  ],
  [
    'WARN subject-elsewhere',
    `{ ${spiffe}, subjects: ["spiffe://prod.example.evil/**"] }`,
    `{ ${spiffe}, subjects: ["spiffe://prod.example/ns/*"] }`,
  ],
  ['WARN no-token-review', `{ ${k8s}, maxLifetime: 11m }`, `{ ${k8s}, maxLifetime: 10m }`],
  [
    'WARN no-token-review',
    `{ ${k8s} }`,
    `{ ${k8s}, tokenReview: { server: "https://kubernetes.default.svc" } }`,
  ],
  [
    'WARN never-used',
    `{ ${k8s}, maxLifetime: 10m, jwksFile: /keys.json, tokenFile: /token }`,
    `{ ${k8s}, maxLifetime: 10m, tokenFile: /token }`,
  ],
  [
    'ERROR two-key-sources',
    `{ ${github}, jwksFile: /keys.json, jwksUri: "https://github.example/keys" }`,
    `{ ${github}, jwksUri: "https://github.example/keys" }`,
  ],
  [
    'ERROR two-key-sources',
    `{ ${github}, events: { jwksFile: /keys.json, jwksUri: "https://github.example/keys" } }`,
    `{ ${github}, events: { jwksUri: "https://github.example/keys" } }`,
  ],
  [
    'ERROR transmitter-missing',
    `{ ${spiffe}, subjects: ["spiffe://prod.example/**"], events: {} }`,
    `{ ${spiffe}, subjects: ["spiffe://prod.example/**"], events: { transmitter: "https://spire.example" } }`,
  ],
])('%s is found, and not in the near miss', (finding, found, missed) => {
  expect(rulesOf(issuer(found))).toEqual([finding]);
  expect(rulesOf(issuer(missed))).toEqual([]);
});

const reviewed = `${k8s}, maxLifetime: 10m`;

test.each([
  [
    'SECURITY mutable-name',
    github,
    '{ sub: "repo:acme/app:ref:refs/heads/main" }',
    '{ repository_id: "74" }',
  ],
  ['SECURITY mutable-name', github, '{ repository: acme/app }', '{ repository_owner_id: "65" }'],
  [
    'SECURITY mutable-name',
    gitlab,
    '{ project_path: acme/app }',
    '{ project_path: acme/app, project_id: "20" }',
  ],
  ['SECURITY mutable-name', gitlab, '{ ref_protected: "true" }', '{ namespace_id: "72" }'],
  ['WARN mutable-name', reviewed, '{ namespace: a }', '{ serviceaccount.uid: "a087" }'],
])('%s: a template of %.16s that matches names alone', (finding, spec, found, missed) => {
  const rules = (match: string) =>
    rulesOf(issuer(`{ ${spec} }`), template(`{ issuer: one, match: ${match} }`));
  expect(rules(found).filter((rule) => rule.endsWith('mutable-name'))).toEqual([finding]);
  expect(rules(missed).filter((rule) => rule.endsWith('mutable-name'))).toEqual([]);
});

test('binding the uid of a service account or pod is as good as matching it', () => {
  const bound = (bind: string) =>
    rulesOf(issuer(`{ ${reviewed} }`), template(`{ issuer: one, match: { namespace: a }, bind: [${bind}] }`));
  for (const claim of ['serviceaccount.uid', 'pod.uid'])
    expect(bound(claim)).not.toContain('WARN mutable-name');
  expect(bound('pod.name')).toContain('WARN mutable-name');
});

test('a transmitter speaks for one issuer, by its own name or another’s', () => {
  const oidc = (host: string, events: string) =>
    `{ type: oidc, issuer: "https://${host}.example", subjects: ["a*"], events: ${events} }`;
  const two = (events: string) =>
    rulesOf(
      document('TrustedIssuer', 'one', oidc('one', '{}')),
      document('TrustedIssuer', 'two', oidc('two', events)),
    );
  expect(two('{ transmitter: "https://one.example" }')).toContain('ERROR transmitter-twice');
  expect(two('{}')).not.toContain('ERROR transmitter-twice');
});

test('an issuer of people and machines of another type may be matched by name', () => {
  const oidc = '{ type: oidc, issuer: "https://sso.example", subjects: ["a*"] }';
  expect(rulesOf(issuer(oidc), template('{ issuer: one, match: { sub: a1 } }'))).not.toContain(
    'SECURITY mutable-name',
  );
});

test('claims that the type keeps need not be named, others must be', () => {
  const rules = (spec: string, claim: string) =>
    rulesOf(
      issuer(`{ ${spec} }`),
      template(`{ issuer: one, match: { ${claim}: x, repository_id: "1" }, bind: [${claim}] }`),
    ).filter((rule) => rule === 'WARN claim-not-kept');
  expect(rules(github, 'run_id')).toEqual([]);
  expect(rules(github, 'actor')).toHaveLength(2);
  expect(rules(`${github}, claims: [actor]`, 'actor')).toEqual([]);
});

const compiled = (spec: string) => {
  const versioned = parsed(issuer(spec)).map((one) => ({ version: 1, document: one.document }));
  const [first] = compileDocuments(versioned, { brokerIssuer: 'https://mayfly.example' }).issuers.values();
  return first;
};

test('each type has its own defaults', () => {
  expect(compiled(`{ ${github} }`)).toMatchObject({
    type: 'github',
    issuer: 'https://token.actions.githubusercontent.com',
    audience: 'https://mayfly.example',
    replay: 'once',
    pullRequests: 'refuse',
    claims: expect.arrayContaining(['repository_id', 'run_id', 'environment']),
  });
  expect(compiled(`{ ${gitlab}, pullRequests: accept }`)).toMatchObject({
    replay: 'once',
    pullRequests: 'accept',
    claims: expect.arrayContaining(['project_id', 'ref_protected', 'pipeline_source']),
  });
  expect(compiled(`{ ${k8s} }`)).toMatchObject({
    replay: 'reuse',
    tokenReview: null,
    claims: expect.arrayContaining(['namespace', 'pod.uid', 'serviceaccount.uid']),
  });
  expect(compiled(`{ ${spiffe}, bundleFile: /b.json }`)).toMatchObject({
    issuer: 'spiffe://prod.example',
    replay: 'reuse',
    bundleFile: '/b.json',
    bundleUrl: null,
    claims: [],
  });
});

test('what a document adds is kept beside the claims of its type, once', () => {
  const claims = compiled(`{ ${github}, claims: [actor, ref] }`)?.claims ?? [];
  expect(claims).toContain('actor');
  expect(claims.filter((one) => one === 'ref')).toHaveLength(1);
});

test('a token review takes authority and token of its issuer unless it names its own', () => {
  const review = (more: string, own = '') =>
    compiled(`{ ${k8s}${more}, tokenReview: { server: "https://10.0.0.1:6443/"${own} } }`)?.tokenReview;
  expect(review('')).toEqual({
    server: 'https://10.0.0.1:6443',
    caFile: null,
    tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
  });
  const shared = ', caFile: /ca, tokenFile: /token';
  expect(review(shared)).toMatchObject({ caFile: '/ca', tokenFile: '/token' });
  expect(review(shared, ', caFile: /ca2, tokenFile: /token2')).toMatchObject({
    caFile: '/ca2',
    tokenFile: '/token2',
  });
});
