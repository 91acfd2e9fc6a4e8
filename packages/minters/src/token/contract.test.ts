import type { MintPlan } from '@mayfly/core';
import { actions } from '@mayfly/protocol';
import type { Random } from '@mayfly/testkit';
import { bodyMutant, describeMinter, planMutant, type Scope, type Wanted } from '@mayfly/testkit/contracts';
import { server, tokenRequest } from '../../test/plans.ts';
import { checkPlan } from '../check.ts';
import { createTokenMinter } from './minter.ts';

const host = 'https://reports.example';
const claimsOf = ({ body }: MintPlan): Readonly<Record<string, unknown>> => Object(body['claims']);
const claimsMutant = (name: string, change: Readonly<Record<string, unknown>>) =>
  planMutant(name, (plan) => ({ ...plan, body: { ...plan.body, claims: { ...claimsOf(plan), ...change } } }));
const detailMutant = (name: string, change: Readonly<Record<string, unknown>>) =>
  planMutant(name, (plan) => {
    const [detail] = [claimsOf(plan)['authorization_details']].flat();
    const claims = { ...claimsOf(plan), authorization_details: [{ ...Object(detail), ...change }] };
    return { ...plan, body: { ...plan.body, claims } };
  });

/** As a tool server decides: its own audience, then the one detail, compared byte by byte. */
function opens(plan: MintPlan, { action, identifier }: Wanted): boolean {
  const { aud, authorization_details: details } = claimsOf(plan);
  if (aud !== server.audience || !Array.isArray(details)) return false;
  return details.some((detail: unknown) => {
    const { identifier: named, actions: verbs } = Object(detail);
    return named === identifier && Array.isArray(verbs) && verbs.includes(action);
  });
}

function scope(random: Random): Scope {
  const path = Array.from({ length: 1 + random.below(4) }, () =>
    random.pick(['a', 'b', '2026q3', 'x.y', '~']),
  );
  const identifier = `${host}/${path.join('/')}`;
  const granted = actions.filter(() => random.below(3) === 0);
  const [action] = granted.length === 0 ? [random.pick(actions)] : granted;
  const elsewhere = [`${identifier}/x`, `${identifier}x`, `${host}/`, identifier.replace('https', 'http')];
  const kept = granted.length === 0 && action !== undefined ? [action] : granted;
  const others = actions.filter((one) => !kept.includes(one));
  return {
    request: { identifier, actions: kept },
    resource: `${host}/**`,
    neighbours: [
      ...elsewhere.map((one) => ({ action: kept[0] ?? 'read', identifier: one })),
      ...others.map((one) => ({ action: one, identifier })),
    ],
  };
}

const mutants = [
  detailMutant('a tool token for everything beneath', { identifier: `${host}/**` }),
  detailMutant('a tool token for its parent', { identifier: `${host}/` }),
  detailMutant('a tool token with every verb', { actions: [...actions] }),
  detailMutant('a tool token for another tool', { tool: 'report.delete' }),
  claimsMutant('a tool token for another server', { aud: 'https://payroll.example/mcp' }),
  claimsMutant('a tool token for several servers', { aud: [server.audience, 'https://payroll.example'] }),
  claimsMutant('a tool token of another workload', { sub: 'prod-k8s/admin' }),
  claimsMutant('a tool token that never expires', { exp: Number.MAX_SAFE_INTEGER }),
  claimsMutant('a tool token bound to the key of another', { cnf: { jkt: 'x' } }),
  bodyMutant('another algorithm', { alg: 'RS256' }),
  planMutant('a tool token that says the provider narrows it', (plan) => ({
    ...plan,
    enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
  })),
  planMutant('a tool token that says it ends at once', (plan) => ({
    ...plan,
    ends: { by: 'denied', guaranteedSeconds: 0 },
  })),
];

for (const verification of ['introspect', 'offline'] as const)
  describeMinter(
    `the token minter for a server that verifies by ${verification}`,
    () => {
      const signed: string[] = [];
      const sign = async (claims: unknown) => {
        signed.push(Buffer.from(JSON.stringify(claims)).toString('base64url'));
        return signed.at(-1) ?? '';
      };
      return {
        minter: createTokenMinter({ issuer: 'https://mayfly.example', sign }),
        check: checkPlan,
        request: tokenRequest({ server: { ...server, verification } }),
        resource: `${host}/**`,
        outside: 'https://payroll.example/2026q3',
        secrets: () => signed,
        opens,
        scope,
      };
    },
    mutants,
  );
