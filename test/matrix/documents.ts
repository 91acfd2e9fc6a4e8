import { join } from 'node:path';

/** What a state of the matrix changes in the documents; nothing said is what lets every path through. */
export interface Changes {
  readonly issuer?: string;
  readonly keys?: string;
  readonly subjects?: string;
  readonly mode?: 'enforce' | 'disabled';
  readonly template?: 'job' | 'none';
  readonly workload?: string;
  readonly tool?: string;
  readonly resource?: string;
  readonly proof?: 'none' | 'dpop';
  readonly actors?: string;
  readonly children?: string;
  readonly toolServer?: string;
  readonly operators?: string;
  readonly orchestrators?: string;
  readonly openers?: string;
}

export const agentsTransmitter = 'https://agents.matrix.example/ssf';

/** Issuers by key file, so that no key is fetched; one template with a tool-token grant and a cloud's. */
export function matrixDocuments(dir: string, changes: Changes): string {
  const parts = [issuers(dir, changes), server(changes), binding(changes)];
  if (changes.template !== 'none') parts.push(job(changes), other);
  return parts.join('---\n');
}

function issuers(dir: string, { issuer = 'agents', keys = 'jwks', subjects = '*' }: Changes): string {
  return `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: matrix-agents }
spec:
  type: oidc
  issuer: https://${issuer}.matrix.example
  jwksFile: ${join(dir, `${keys}.json`)}
  algorithms: [ES256]
  subjects: ["${subjects}"]
  events: { transmitter: "${agentsTransmitter}", jwksFile: ${join(dir, 'jwks.json')}, algorithms: [ES256], endsPerMinute: 1000 }
---
apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: matrix-staff }
spec:
  type: oidc
  issuer: https://staff.matrix.example
  jwksFile: ${join(dir, 'jwks.json')}
  algorithms: [ES256]
  subjects: ["*"]
`;
}

function server({ toolServer = 'tool' }: Changes): string {
  return `apiVersion: mayfly/v1
kind: ResourceServer
metadata: { name: matrix }
spec:
  audience: https://matrix.example/mcp
  subjects: [{ issuer: matrix-agents, match: { sub: "${toolServer}" } }]
`;
}

function binding({ operators = 'olga', orchestrators = 'orla' }: Changes): string {
  return `apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: matrix-orchestrators }
spec:
  roles: [orchestrator]
  subjects: [{ issuer: matrix-staff, match: { sub: "${orchestrators}" } }]
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: matrix-operators }
spec:
  roles: [operator]
  subjects:
    - { issuer: matrix-staff, match: { sub: "${operators}" } }
    - { issuer: people, match: { sub: "${operators === 'olga' ? 'bob' : operators}@corp.example" } }
`;
}

function job(changes: Changes): string {
  const { mode = 'enforce', workload = 'agent', tool = 'report.post', proof = 'none' } = changes;
  const { resource = 'https://matrix.example/**', actors = 'helper', children = 'matrix-job' } = changes;
  const { openers = '{ issuer: matrix-agents, match: { sub: planner } }, { role: orchestrator }' } = changes;
  const delegation =
    actors === ''
      ? ''
      : `  delegation: { actor: optional, actors: [{ issuer: matrix-agents, match: { sub: ["${actors}", tool] } }] }\n`;
  return `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: matrix-job, owner: matrix }
spec:
  mode: ${mode}
  workloads: [{ issuer: matrix-agents, match: { sub: "${workload}" } }]
  openers: [self${openers === '' ? '' : `, ${openers}`}]
  task: { maxDuration: 1h, lease: 10m, children: { max: 1000, depth: 3, templates: [${children}] } }
${delegation}  deviation: { refused: { after: 1, within: 1m, do: end }, quarantine: 15m }
  grants:
    - name: post
      tool: ${tool}
      resource: "${resource}"
      mint: { provider: token, server: matrix }
      actions: [write]
      effects: [write]
      proof: ${proof}
    - name: exact
      tool: ${tool}
      resource: "${resource.replace('**', 'exact')}"
      mint: { provider: token, server: matrix }
      actions: [write]
      effects: [write]
      proof: ${proof}
    - name: read
      tool: s3.read
      resource: "arn:aws:s3:::invoices/**"
      mint: { provider: local-aws, access: s3.object }
      actions: [read]
      effects: [read]
`;
}

/** Something to name as the only child where the template's own is taken out. */
const other = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: matrix-other, owner: matrix }
spec: { workloads: [{ issuer: matrix-agents, match: { sub: other } }] }
`;
