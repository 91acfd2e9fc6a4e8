import { benchDocuments } from './documents.ts';

/** Who may end what others have. */
export const operator = 'agent-operator';

/** The bench's documents, a cluster beside its AWS, and a template with one grant of each. */
export function reaperDocuments(options: {
  jwksFile: string;
  aws: string;
  cluster: string;
  caFile: string;
}): string {
  return `${benchDocuments(options)}---
apiVersion: mayfly/v1
kind: Provider
metadata: { name: bench-k8s }
spec:
  type: kubernetes
  cluster: bench
  serviceAccounts: [agents/deployer]
  auth: federation
  audience: https://kubernetes.default.svc
  caFile: ${options.caFile}
  endpoints: { api: "${options.cluster}" }
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: operators }
spec:
  roles: [operator]
  subjects: [{ issuer: bench, match: { sub: ${operator} } }]
---
apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: reaped, owner: bench }
spec:
  workloads: [{ issuer: bench, match: { sub: "agent-*" } }]
  params: { quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }
  task: { maxDuration: 1h, lease: 30m }
  grants:
    - name: invoices
      tool: s3.read
      resource: "arn:aws:s3:::invoices/\${params.quarter}/**"
      mint: { provider: local-aws, access: s3.object }
      actions: [read]
      effects: [read]
      ttl: { default: 60s, max: 60s }
    - name: deploy
      tool: k8s.deploy
      resource: k8s://bench/agents/deployer
      mint: { provider: bench-k8s, access: kubernetes.serviceaccount }
      actions: [invoke]
      effects: [write]
      ttl: { default: 15m, max: 15m }
`;
}
