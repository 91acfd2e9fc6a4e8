import { describe, expect, test } from '@jest/globals';
import { formatError, formatFinding, lint, lintTypeChanges, parseDocuments } from './index.ts';

const issuer = `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: ci }
spec: { type: oidc, issuer: "https://ci.example", subjects: ["agent"] }
`;
const provider = (name: string, spec: string) =>
  `apiVersion: mayfly/v1\nkind: Provider\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const cluster =
  'type: kubernetes, cluster: staging, serviceAccounts: [agents/deployer], endpoints: { api: "https://10.0.0.1:6443" }';
const app = 'type: github, appId: "1", installationId: "2", owner: acme';
const template = ({
  maxDuration = '2h',
  resource = 'k8s://staging/agents/deployer',
  mint = 'provider: k8s, access: kubernetes.serviceaccount',
  actions = 'invoke',
  effects = 'write',
  ttl = '15m',
  endsWithin = '10s',
}) => `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: t, owner: team }
spec:
  risk: medium
  workloads: [{ issuer: ci, match: { sub: agent } }]
  task: { maxDuration: ${maxDuration}, lease: 60s, maxOpen: 1, opensPerHour: 10 }
  grants:
    - name: g
      tool: t.use
      resource: "${resource}"
      mint: { ${mint} }
      actions: [${actions}]
      effects: [${effects}]
      ttl: { default: ${ttl}, max: ${ttl} }
      endsWithin: ${endsWithin}
      budget: { exchanges: 10, perMinute: 5 }
`;
const repository = {
  resource: 'https://github.com/acme/webshop',
  mint: 'provider: gh, access: github.repository',
  actions: 'read',
  effects: 'read',
  ttl: '61m',
  endsWithin: '61m',
};

function findings(texts: readonly string[]): readonly string[] {
  const { documents, errors } = parseDocuments([{ file: 'a.yaml', text: [issuer, ...texts].join('---\n') }]);
  const all = [...errors.map(formatError), ...lint(documents, []).map(formatFinding)];
  return all.map((line) => line.replace(/^a\.yaml:\d+:\d+: /, ''));
}
const world = [provider('k8s', `{ ${cluster} }`), provider('gh', `{ ${app} }`)];

test('clusters and installations are clean as the examples write them', () => {
  expect(findings([...world, template({})])).toEqual([]);
  expect(findings([...world, template(repository)])).toEqual([]);
  const wider = template({ resource: 'k8s://staging/agents/*' });
  expect(findings([...world, wider])).toEqual([]);
});

test.each([
  ['spec.cluster', cluster.replace('staging', 'Staging'), /a-z, 0-9/],
  ['spec.serviceAccounts[0]', cluster.replace('agents/deployer', 'deployer'), /NAMESPACE\/NAME/],
  ['spec.serviceAccounts[0]', cluster.replace('agents/deployer', 'agents/*'), /NAMESPACE\/NAME/],
  ['spec.endpoints', cluster.replace(/, endpoints.*/, ''), /./],
  ['spec.endpoints.api', cluster.replace('https:', 'http:'), /https/],
  ['spec.auth', `${cluster}, auth: tokenFile`, /token-file/],
  ['spec.auth', `${cluster}, tokenFile: /t`, /token-file/],
  ['spec.tokenFile', `${cluster}, auth: tokenFile, tokenFile: t`, /an absolute path/],
  ['spec.tokenFile', `${cluster}, auth: tokenFile, tokenFile: /t`, /SECURITY one-identity/],
  ['spec.serviceAccounts[1]', cluster.replace('[agents/deployer]', '[agents/a, agents/a]'), /WARN repeated/],
  ['spec.audience', `${cluster}, audience: "api://AzureADTokenExchange"`, /ERROR audience-of-a-cloud/],
  ['spec.audience', `${cluster}, audience: "api://azureadtokenexchangeUSGov"`, /ERROR audience-of-a-cloud/],
  [
    'spec.audience',
    `${cluster}, audience: "https://iam.googleapis.com/projects/1"`,
    /ERROR audience-of-a-cloud/,
  ],
  [
    'spec.audience',
    `${cluster}, audience: "https://sts.eu-west-1.amazonaws.com"`,
    /ERROR audience-of-a-cloud/,
  ],
  ['spec.audience', `${cluster}, audience: "//iam.googleapis.com/projects/1"`, /an absolute URI/],
  ['spec.audience', `${cluster}, audience: sts.amazonaws.com`, /an absolute URI/],
  ['spec.privateKey', `${app}, privateKey: { file: /k }`, /./],
  ['spec.appId', app.replace('"1"', '1'), /./],
  ['spec.owner', app.replace('acme', 'acme/webshop'), /a user or organization/],
  ['spec.installationId', app.replace('"2"', '"two"'), /a number, quoted/],
])('%s of a Provider that is wrong is named: %s', (place, spec, says) => {
  const said = findings([provider('p', `{ ${spec} }`)]);
  expect(
    said.filter((line) => line.startsWith(place.replace('.privateKey', '')) && says.test(line)),
  ).not.toEqual([]);
});

test.each([
  ['endsWithin-unreachable', template({ endsWithin: '9s' })],
  // Only the API server looks at the Secret.
  [
    'endsWithin-unreachable',
    template({ mint: 'provider: k8s, access: kubernetes.serviceaccount, audience: "https://vault.example"' }),
  ],
  ['ttl-range', template({ ttl: '10m' })],
  ['task-too-short', template({ maxDuration: '10m' })],
  ['action-unknown', template({ actions: 'read' })],
  ['resource-form', template({ resource: 'k8s://staging' + '?x/agents/deployer' })],
  ['no-fixed-first-segment', template({ resource: 'k8s://*/agents/deployer' })],
  ['role', template({ mint: 'provider: k8s, access: kubernetes.serviceaccount, role: agents/deployer' })],
  [
    'audience',
    template({
      ...repository,
      mint: 'provider: gh, access: github.repository, audience: "https://a.example"',
    }),
  ],
  ['unknown-access', template({ ...repository, mint: 'provider: gh, access: kubernetes.serviceaccount' })],
  ['ttl-range', template({ ...repository, ttl: '1h' })],
  ['task-too-short', template({ ...repository, maxDuration: '1h' })],
  ['endsWithin-unreachable', template({ ...repository, endsWithin: '5s' })],
  ['action-unknown', template({ ...repository, actions: 'delete', effects: 'delete' })],
  ['resource-form', template({ ...repository, resource: 'https://gitlab.com/acme/webshop' })],
  ['beyond-provider', template({ resource: 'k8s://production/agents/deployer' })],
  ['beyond-provider', template({ resource: 'k8s://staging/agents/admin' })],
  ['beyond-provider', template({ resource: 'k8s://staging/kube-system/*' })],
  ['beyond-provider', template({ ...repository, resource: 'https://github.com/other/webshop' })],
])('a template that asks what cannot be held is refused: %s', (rule, text) => {
  expect(findings([...world, text]).filter((line) => line.includes(`ERROR ${rule}: `))).not.toEqual([]);
});

describe('a Provider of another type under the same name', () => {
  const next = (spec: string) =>
    parseDocuments([{ file: 'a.yaml', text: provider('k8s', `{ ${spec} }`) }]).documents;
  const active = (type: string) => [
    { kind: 'Provider', name: 'k8s', version: 1, set: 's', body: { spec: { type } } },
  ];

  test('is refused: the cloud that it was still trusts its name', () => {
    expect(lintTypeChanges(next(cluster), active('azure')).map(formatFinding)).toEqual([
      expect.stringMatching(
        /^a\.yaml:\d+:\d+: spec\.type: ERROR type-changed: Provider k8s is of type azure,/,
      ),
    ]);
  });

  test('is none when the type stays, or the name is new', () => {
    expect(lintTypeChanges(next(cluster), active('kubernetes'))).toEqual([]);
    expect(lintTypeChanges(next(cluster), [])).toEqual([]);
  });
});
