import { expect, test } from '@jest/globals';
import { canonicalDocument, documentDigest, effectiveDocument, parseDocuments } from './index.ts';

function read(text: string) {
  const [parsed] = parseDocuments([{ file: 'a.yaml', text }]).documents;
  if (parsed === undefined) throw new Error('no document');
  return parsed.document;
}
const server = (spec: string) =>
  read(`apiVersion: mayfly/v1\nkind: ResourceServer\nmetadata: { name: one }\nspec: ${spec}\n`);
const context = { brokerIssuer: 'https://mayfly.example' };

test('the canonical form is RFC 8785: sorted keys, no space, UTF-8', () => {
  const bytes = canonicalDocument(
    server('{ subjects: [{ issuer: ci, match: { sub: "é" } }], audience: "https://a.example" }'),
  );
  expect(new TextDecoder().decode(bytes)).toBe(
    '{"apiVersion":"mayfly/v1","kind":"ResourceServer","metadata":{"name":"one"},"spec":{"audience":"https://a.example","cacheSeconds":5,"signingAlgorithm":"ES256","subjects":[{"issuer":"ci","match":{"sub":"é"}}],"verification":"introspect"}}',
  );
});

test('documents that say the same have one digest, others another', () => {
  const digest = documentDigest(server('{ audience: "https://a.example" }'));
  expect(documentDigest(server('{ cacheSeconds: 5, audience: "https://a.example" }'))).toBe(digest);
  expect(documentDigest(server('{ cacheSeconds: 6, audience: "https://a.example" }'))).not.toBe(digest);
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
});

test('the effective issuer names its audience', () => {
  const issuer = read(
    'apiVersion: mayfly/v1\nkind: TrustedIssuer\nmetadata: { name: ci }\nspec: { type: oidc, issuer: "https://ci.example" }\n',
  );
  expect(effectiveDocument(issuer, context).spec).toMatchObject({
    audience: 'https://mayfly.example',
    replay: 'once',
    maxLifetime: '1h',
    people: false,
    subjects: [],
  });
});

test('the effective provider names the endpoints that will be called', () => {
  const provider = read(
    'apiVersion: mayfly/v1\nkind: Provider\nmetadata: { name: cloud }\nspec: { type: aws, region: eu-west-1, roles: ["arn:aws:iam::123456789012:role/a"], endpoints: { sts: "http://127.0.0.1:4566" } }\n',
  );
  expect(effectiveDocument(provider, context).spec).toMatchObject({
    auth: 'webIdentity',
    revoke: 'deny-policy',
    endpoints: { sts: 'http://127.0.0.1:4566', iam: 'https://iam.amazonaws.com' },
  });
});

test('the effective template shows the life of each grant and what a lost heartbeat does', () => {
  const template = read(
    'apiVersion: mayfly/v1\nkind: GrantTemplate\nmetadata: { name: job }\nspec: { grants: [{ name: one, tool: t, resource: "https://a.example/x", mint: { provider: token, server: one } }] }\n',
  );
  const spec = effectiveDocument(template, context).spec;
  expect(spec).toMatchObject({
    mode: 'enforce',
    risk: 'medium',
    openers: ['self'],
    task: { maxDuration: '1h', lease: '60s' },
    deviation: { heartbeatLost: 'end' },
    grants: [{ ttl: { default: '60s', max: '60s' }, mint: { access: 'token' }, proof: 'none' }],
  });
});

test('what is effective is itself a document that parses to the same', () => {
  const effective = effectiveDocument(server('{ audience: "https://a.example" }'), context);
  expect(read(JSON.stringify(effective))).toEqual(effective);
});
