export type { AwsCredentialProvider, AwsCredentials } from './aws-credentials.ts';
export { type Clock, systemClock } from './clock.ts';
export type { Answer, Connection } from './connection.ts';
export {
  MayflyError,
  Misconfigured,
  NoIdentity,
  RateLimited,
  Refused,
  type SourceReport,
  TaskOver,
  Unavailable,
} from './errors.ts';
export type { Environment, Identity, IdentitySource, Subject } from './identity.ts';
export { Mayfly, type OpenTask } from './mayfly.ts';
export type { Asked } from './messages.ts';
export { apiRequest, exchangeForm } from './requests.ts';
export { Secret } from './secret.ts';
export type { AskOptions, Task } from './task.ts';
export type { TaskEnd, TaskGrant } from './task-answers.ts';
export type { ToolToken } from './tool-token.ts';
export type { Incoming, Outgoing, Transport } from './transport.ts';
export { type MayflyOptions, type Wiring, wire } from './wiring.ts';
