import { expect, test } from '@jest/globals';
import { rolesOf } from '@mayfly/core';
import { compileDocuments, type DocumentOf, mayWriteDocument, parseDocuments, roleAllows } from './index.ts';

const world = `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: sso }
spec: { type: oidc, issuer: "https://sso.example", subjects: ["*@corp"], claims: [groups], people: true }
---
apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: ci }
spec: { type: oidc, issuer: "https://ci.example", subjects: ["job/*"], claims: [groups] }
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: everywhere }
spec:
  roles: [admin, auditor]
  subjects: [{ issuer: sso, match: { groups: platform } }, { issuer: ci, match: { groups: platform } }]
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: finance }
spec:
  roles: [template-admin]
  subjects: [{ issuer: sso, match: { groups: finance } }]
  scope: { templates: ["finance-*"] }
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: clouds }
spec:
  roles: [admin]
  subjects: [{ issuer: sso, match: { groups: clouds } }]
  scope: { providers: [prod-aws] }
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: nobody }
spec: { roles: [admin], subjects: [] }
`;
const { documents } = parseDocuments([{ file: 'w.yaml', text: world }]);
const policy = compileDocuments(
  documents.map(({ document }) => ({ version: 1, document })),
  { brokerIssuer: 'https://mayfly.example' },
);
const person = (group: string) => ({
  issuer: 'https://sso.example',
  issuerName: 'sso',
  subject: 'jane@corp',
  claims: { sub: 'jane@corp', groups: [group] },
});
const machine = {
  issuer: 'https://ci.example',
  issuerName: 'ci',
  subject: 'job/x',
  claims: { sub: 'job/x', groups: ['platform'] },
};
const held = (group: string) => rolesOf(person(group), policy);

test('a role of people is held by a person and not by a machine that the same binding names', () => {
  expect(roleAllows(policy, person('platform'), { role: 'admin' })).toBe(true);
  expect(roleAllows(policy, machine, { role: 'admin' })).toBe(false);
  expect(roleAllows(policy, machine, { role: 'auditor' })).toBe(true);
});

test('somebody whom no binding names holds nothing', () => {
  expect(roleAllows(policy, person('sales'), { role: 'auditor' })).toBe(false);
});

test('outside its scope a role does not exist', () => {
  const allows = (scope?: { template: string }) =>
    roleAllows(policy, person('finance'), {
      role: 'template-admin',
      ...(scope === undefined ? {} : { scope }),
    });
  expect(allows({ template: 'finance-repair' })).toBe(true);
  expect(allows({ template: 'sales-repair' })).toBe(false);
  expect(allows()).toBe(false);
});

test('template-admin writes templates in its scope and nothing else', () => {
  const write = (kind: 'GrantTemplate' | 'Provider', name: string) =>
    mayWriteDocument(held('finance'), person('finance'), { kind, name }).allowed;
  expect(write('GrantTemplate', 'finance-repair')).toBe(true);
  expect(write('GrantTemplate', 'sales-repair')).toBe(false);
  expect(write('Provider', 'prod-aws')).toBe(false);
});

test('admin writes everything but templates', () => {
  const write = (kind: 'GrantTemplate' | 'Provider' | 'TrustedIssuer', name: string) =>
    mayWriteDocument(held('platform'), person('platform'), { kind, name }).allowed;
  expect(write('TrustedIssuer', 'sso')).toBe(true);
  expect(write('Provider', 'prod-aws')).toBe(true);
  expect(write('GrantTemplate', 'finance-repair')).toBe(false);
});

test('an admin of one provider writes that provider only', () => {
  const write = (kind: 'Provider' | 'TrustedIssuer', name: string) =>
    mayWriteDocument(held('clouds'), person('clouds'), { kind, name }).allowed;
  expect(write('Provider', 'prod-aws')).toBe(true);
  expect(write('Provider', 'dev-aws')).toBe(false);
  expect(write('TrustedIssuer', 'sso')).toBe(false);
});

function binding(group: string): DocumentOf<'RoleBinding'> {
  const text = `apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: b }\nspec: { roles: [template-admin], subjects: [{ issuer: sso, match: { groups: ${group} } }] }\n`;
  const [parsed] = parseDocuments([{ file: 'b.yaml', text }]).documents;
  if (parsed?.document.kind !== 'RoleBinding') throw new Error('no binding');
  return parsed.document;
}

test.each([
  ['others before and after', binding('sales'), binding('finance'), true],
  ['nobody before', null, binding('finance'), true],
  ['himself after: he would raise himself', binding('sales'), binding('platform'), false],
  ['himself in a new one', null, binding('platform'), false],
  ['himself before: he would keep or widen it', binding('platform'), binding('sales'), false],
  ['himself in one to be deleted', binding('platform'), null, false],
])('an admin writes a binding that names %s: %#', (_, before, after, allowed) => {
  const write = { kind: 'RoleBinding', name: 'b', binding: { before, after } } as const;
  expect(mayWriteDocument(held('platform'), person('platform'), write).allowed).toBe(allowed);
});

test('a binding that is not shown is not written', () => {
  const write = { kind: 'RoleBinding', name: 'b' } as const;
  expect(mayWriteDocument(held('platform'), person('platform'), write).allowed).toBe(false);
});
