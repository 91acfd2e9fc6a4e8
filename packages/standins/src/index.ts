export { allows, type Context as PolicyContext, parsePolicy } from './aws/evaluate.ts';
export type { FaultPlan } from './aws/faults.ts';
export type { LedgerRecord } from './aws/ledger.ts';
export { type AwsOptions, type AwsStandin, type SeedRole, startAws } from './aws/server.ts';
export { type AssertionRequest, type IssuerOptions, type LocalIssuer, startIssuer } from './issuer/issuer.ts';
export type { IssuerClient } from './issuer/people.ts';
export { type Cluster, type Pod, type ServiceAccount, startCluster } from './kubernetes/cluster.ts';
export { startWorkloadApi, type WorkloadApi, type WorkloadApiOptions } from './spiffe/workload-api.ts';
export { type Certificate, selfSigned } from './tls/self-signed.ts';
