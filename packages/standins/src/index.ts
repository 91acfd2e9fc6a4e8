export { allows, type Context as PolicyContext, parsePolicy } from './aws/evaluate.ts';
export type { FaultPlan } from './aws/faults.ts';
export type { LedgerRecord } from './aws/ledger.ts';
export type { SeedRole } from './aws/seed.ts';
export { type AwsOptions, type AwsStandin, startAws } from './aws/server.ts';
export { type Azurite, startAzurite } from './azure/azurite.ts';
export { type AzureOptions, type AzureStandin, startAzure } from './azure/server.ts';
export type { QueueRight, SeedQueue } from './azure/service-bus.ts';
export type { Assignment, AzureRecord } from './azure/state.ts';
export { parseBoundary } from './gcp/boundary.ts';
export type { GcpRecord } from './gcp/ledger.ts';
export { type GcpOptions, type GcpStandin, startGcp } from './gcp/server.ts';
export {
  type GithubRecord,
  type GithubStandin,
  type InstallationSeed,
  startGithub,
} from './github/server.ts';
export { type AssertionRequest, type IssuerOptions, type LocalIssuer, startIssuer } from './issuer/issuer.ts';
export type { IssuerClient } from './issuer/people.ts';
export {
  type Cluster,
  type ClusterRecord,
  type Pod,
  type Rule,
  type ServiceAccount,
  startCluster,
} from './kubernetes/cluster.ts';
export { startWorkloadApi, type WorkloadApi, type WorkloadApiOptions } from './spiffe/workload-api.ts';
export { type Certificate, selfSigned } from './tls/self-signed.ts';
export { trust } from './tls/trust.ts';
