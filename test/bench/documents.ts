/** What the benched installation is told: an issuer by key file, so that no key is fetched, and one template of two tools. */
export function benchDocuments(options: { jwksFile: string; aws: string }): string {
  const { jwksFile, aws } = options;
  return `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: bench }
spec:
  type: oidc
  issuer: ${benchIssuer}
  jwksFile: ${jwksFile}
  algorithms: [ES256]
  subjects: ["agent-*"]
  maxLifetime: 1h
  replay: once
---
apiVersion: mayfly/v1
kind: Provider
metadata: { name: local-aws }
spec:
  type: aws
  region: eu-west-1
  roles: ["arn:aws:iam::123456789012:role/mayfly/finance"]
  auth: webIdentity
  revoke: deny-policy
  revoker: { role: "arn:aws:iam::123456789012:role/mayfly/reaper" }
  endpoints: { sts: "${aws}", iam: "${aws}", s3: "${aws}" }
---
apiVersion: mayfly/v1
kind: ResourceServer
metadata: { name: reports }
spec:
  audience: https://reports.example/mcp
  subjects: [{ issuer: bench, match: { sub: "agent-reports" } }]
---
apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: bench, owner: bench }
spec:
  workloads: [{ issuer: bench, match: { sub: "agent-*" } }]
  params: { quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }
  task: { maxDuration: 1h, lease: 30m }
  grants:
    - name: report
      tool: report.post
      resource: "https://reports.example/\${params.quarter}/**"
      mint: { provider: token, server: reports }
      actions: [write]
      effects: [write]
      ttl: { default: 60s, max: 60s }
      budget: { exchanges: 1000000 }
    - name: invoices
      tool: s3.read
      resource: "arn:aws:s3:::invoices/\${params.quarter}/**"
      mint: { provider: local-aws, access: s3.object }
      actions: [read]
      effects: [read]
      ttl: { default: 60s, max: 60s }
      budget: { exchanges: 1000000 }
`;
}

export const benchIssuer = 'https://issuer.bench.example';
