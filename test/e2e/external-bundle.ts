/** The documents of an installation that has only what these tests need: two issuers, a tool server, one template. */
export function bundle(workloads: string, people: string): string {
  return `apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: workloads }
spec: { type: oidc, issuer: "${workloads}", algorithms: [ES256], subjects: ["agent", "server"], maxLifetime: 10m }
---
apiVersion: mayfly/v1
kind: TrustedIssuer
metadata: { name: people }
spec: { type: oidc, issuer: "${people}", algorithms: [ES256], subjects: ["*@corp.example"], maxLifetime: 1h, people: true }
---
apiVersion: mayfly/v1
kind: ResourceServer
metadata: { name: reports }
spec: { audience: "https://reports.example/mcp", subjects: [{ issuer: workloads, match: { sub: server } }] }
---
apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: report, owner: team }
spec:
  workloads: [{ issuer: workloads, match: { sub: agent } }]
  grants:
    - { name: g, tool: report.post, resource: "https://reports.example/x", mint: { provider: token, server: reports }, actions: [write], effects: [write] }
`;
}
