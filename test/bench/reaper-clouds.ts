import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { startCluster } from '@mayfly/standins';
import { startClouds } from '../../apps/cli/src/dev/clouds.ts';

/**
 * A stand-in AWS (deny documents) and a stand-in cluster (deletes) in a process of their own, each answering after the
 * given time. `POST /secrets?from=A&to=B` on the control address makes what the bench's rows name; `GET /secrets` counts.
 */
const [federationIssuer = '', latencyText = '0', caFile = ''] = process.argv.slice(2);
const latencyMs = Number.parseInt(latencyText, 10);
const { aws } = await startClouds({ federationIssuer, assertionBearer: 'unused', latencyMs });
// An API server remembers whom it knew ten seconds ago, and fetches no keys for each call.
const cluster = await startCluster({ rememberMs: 10_000 });
writeFileSync(caFile, cluster.ca);
cluster.createServiceAccount('agents', 'deployer');
cluster.trust(federationIssuer, 'https://kubernetes.default.svc');
cluster.allow('mayfly:bench-k8s:mint', [
  { verbs: ['create'], resource: 'secrets', namespace: 'agents' },
  { verbs: ['create'], resource: 'serviceaccounts/token', namespace: 'agents', names: ['deployer'] },
]);
cluster.allow('mayfly:bench-k8s:revoke', [{ verbs: ['delete'], resource: 'secrets', namespace: 'agents' }]);
cluster.faults.arm({ action: '*', mode: 'delay', ms: latencyMs, times: Number.POSITIVE_INFINITY });

const control = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? '/', 'http://control');
  if (request.method === 'POST') {
    const to = Number(searchParams.get('to'));
    for (let index = Number(searchParams.get('from')); index < to; index += 1)
      cluster.createSecret('agents', `bench-${index}`);
  }
  response.end(String(cluster.secrets().filter((name) => name.includes('/bench-')).length));
});
await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve));
const address = control.address();
const port = typeof address === 'object' ? address?.port : 0;
console.log(
  `READY ${JSON.stringify({ aws: aws.url, cluster: cluster.issuer, control: `http://127.0.0.1:${port}` })}`,
);
process.stdin.on('end', () => process.exit(0)).resume();
