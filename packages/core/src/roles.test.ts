import { describe, expect, test } from '@jest/globals';
import { coreWorld, pattern } from '@mayfly/testkit';
import { type HeldRole, reaches, rolesOf } from './roles.ts';
import type { RoleBinding, TrustedIssuer } from './template.ts';

const everywhere: RoleBinding['scope'] = { templates: null, providers: null };
const ada = {
  issuer: coreWorld().issuer.issuer,
  issuerName: 'corp-sso',
  subject: 'ada',
  claims: { sub: 'ada', groups: ['audit'] },
};

function binding(part: Partial<RoleBinding>): RoleBinding {
  const subjects = [{ issuerName: 'corp-sso', match: { groups: [pattern('audit')] }, bind: [] }];
  return { name: 'auditors', roles: ['auditor'], subjects, scope: everywhere, ...part };
}

function policy(bindings: readonly RoleBinding[], { people = true }: { people?: boolean } = {}) {
  const issuer: TrustedIssuer = { ...coreWorld().issuer, name: 'corp-sso', people };
  return { bindings, issuers: new Map([[issuer.issuer, issuer]]) };
}

const held = (bindings: readonly RoleBinding[], options?: { people?: boolean }) =>
  rolesOf(ada, policy(bindings, options)).map(({ role }) => role);

describe('roles of a caller', () => {
  test('a binding that matches gives its roles, with its name and scope', () => {
    const scope = { templates: [pattern('finance-*')], providers: null };
    const one = binding({ roles: ['auditor', 'operator'], scope });
    expect(rolesOf(ada, policy([one]))).toEqual([
      { role: 'auditor', from: 'auditors', scope },
      { role: 'operator', from: 'auditors', scope },
    ]);
  });

  test('a binding for others gives none, nor one for nobody, nor one without roles', () => {
    const others = [{ issuerName: 'corp-sso', match: { groups: [pattern('sales')] }, bind: [] }];
    expect(held([binding({ subjects: others }), binding({ subjects: [] }), binding({ roles: [] })])).toEqual(
      [],
    );
    expect(held([])).toEqual([]);
  });

  test('the same group of another issuer gives none', () => {
    const bob = { ...ada, issuerName: 'other-sso' };
    expect(rolesOf(bob, policy([binding({})]))).toEqual([]);
  });

  test.each(['admin', 'template-admin', 'approver', 'break-glass'] as const)(
    '%s is held by people only',
    (role) => {
      expect(held([binding({ roles: [role] })])).toEqual([role]);
      expect(held([binding({ roles: [role] })], { people: false })).toEqual([]);
    },
  );

  test.each(['orchestrator', 'operator', 'auditor'] as const)('%s is held by workloads too', (role) => {
    expect(held([binding({ roles: [role] })], { people: false })).toEqual([role]);
  });

  test("an issuer that was removed makes nobody's subjects people", () => {
    const bindings = [binding({ roles: ['admin'] })];
    expect(rolesOf(ada, { bindings, issuers: new Map() })).toEqual([]);
  });
});

describe('a scope', () => {
  const role = (scope: HeldRole['scope']): HeldRole => ({ role: 'operator', from: 'x', scope });
  const finance = [pattern('finance-*')];
  const aws = [pattern('prod-aws')];

  test('of both kinds reaches what has both only where both hold', () => {
    const both = role({ templates: finance, providers: aws });
    expect(reaches(both, { template: 'finance-a', provider: 'prod-aws' })).toBe(true);
    expect(reaches(both, { template: 'finance-a', provider: 'other' })).toBe(false);
    expect(reaches(both, { template: 'other', provider: 'prod-aws' })).toBe(false);
    expect(reaches(both, { template: 'finance-a' })).toBe(true);
  });

  test('that is not set reaches everything', () => {
    const all = role(everywhere);
    expect([reaches(all, { template: 'x' }), reaches(all, { provider: 'x' }), reaches(all, {})]).toEqual([
      true,
      true,
      true,
    ]);
  });

  test('reaches the templates it names and no other', () => {
    const scoped = role({ templates: finance, providers: null });
    expect(reaches(scoped, { template: 'finance-reports' })).toBe(true);
    expect(reaches(scoped, { template: 'sales-reports' })).toBe(false);
  });

  test('reaches the providers it names and no other', () => {
    const scoped = role({ templates: null, providers: aws });
    expect(reaches(scoped, { provider: 'prod-aws' })).toBe(true);
    expect(reaches(scoped, { provider: 'prod-gcp' })).toBe(false);
  });

  test('that does not speak of the thing excludes it', () => {
    expect(reaches(role({ templates: finance, providers: null }), { provider: 'prod-aws' })).toBe(false);
    expect(reaches(role({ templates: null, providers: aws }), { template: 'finance-reports' })).toBe(false);
    expect(reaches(role({ templates: finance, providers: aws }), {})).toBe(false);
  });

  test('with an empty list reaches nothing', () => {
    const scoped = role({ templates: [], providers: [] });
    expect([reaches(scoped, { template: 'a' }), reaches(scoped, { provider: 'a' })]).toEqual([false, false]);
  });

  test('of both kinds is asked for the kind of the thing', () => {
    const scoped = role({ templates: finance, providers: aws });
    expect(reaches(scoped, { template: 'finance-a' })).toBe(true);
    expect(reaches(scoped, { template: 'sales-a' })).toBe(false);
    expect(reaches(scoped, { provider: 'prod-aws' })).toBe(true);
  });
});
