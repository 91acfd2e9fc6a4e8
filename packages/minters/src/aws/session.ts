import {
  AssumeRoleCommand,
  AssumeRoleWithWebIdentityCommand,
  type Credentials,
  STSClient,
} from '@aws-sdk/client-sts';
import { Fault, type Secret, Secret as SecretOf } from '@mayfly/core';
import type { FederationSigner } from '../services.ts';
import { awsCall, type Connections, clientOptions } from './call.ts';
import { type AwsProvider, splitRole, stsEndpoint } from './provider.ts';

/** Clocks of AWS and ours: an answer later than asked by more is a lie. */
const lieSeconds = 30;

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

export interface Session {
  readonly keys: Secret<Keys>;
  readonly expiresAt: Date;
  /** Which STS has made it: its keys are shown to no other. */
  readonly sts: string;
  /** `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, as asked for and as answered. */
  readonly arn: string;
}

export interface SessionRequest {
  readonly provider: AwsProvider;
  readonly purpose: 'mint' | 'revoke';
  readonly role: string;
  readonly sessionName: string;
  readonly sourceIdentity: string | null;
  readonly policy: string | null;
  readonly durationSeconds: number;
}

export interface SessionContext {
  readonly federation: FederationSigner;
  readonly connections: Connections;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** What AWS's OIDC provider expects as audience of an assertion. */
export const audience = 'sts.amazonaws.com';

/** AssumeRoleWithWebIdentity with our own assertion, or AssumeRole with the broker's ambient identity. */
export async function assume(request: SessionRequest, context: SessionContext): Promise<Session> {
  const { provider } = request;
  const client = new STSClient(clientOptions(stsEndpoint(provider), provider.region, context.connections));
  const answer = await (provider.auth === 'webIdentity' ? withWebIdentity : withAmbient)(
    client,
    request,
    context,
  );
  const { Credentials, AssumedRoleUser, SourceIdentity } = answer;
  const { partition, account, path, name } = splitRole(request.role);
  // AWS leaves the role's path out, Ceph does not.
  const arn = [name, path]
    .map((one) => `arn:${partition}:sts::${account}:assumed-role/${one}/${request.sessionName}`)
    .find((one) => one === AssumedRoleUser?.Arn);
  if (arn === undefined) throw lying('another identity than asked for');
  // A denial names the SourceIdentity: a session without it could not be taken back.
  if (isDeniable(provider) && (SourceIdentity ?? null) !== request.sourceIdentity)
    throw lying('another SourceIdentity than asked for');
  const { durationSeconds } = request;
  return checkCredentials(Credentials, {
    now: context.now,
    durationSeconds,
    arn,
    sts: stsEndpoint(provider),
  });
}

async function withWebIdentity(
  client: STSClient,
  request: SessionRequest,
  { federation, signal }: SessionContext,
) {
  const { provider, purpose, sourceIdentity } = request;
  const tied = sourceIdentity === null ? {} : { sourceIdentity };
  const token = await federation.sign({ provider: provider.name, purpose, audience, ...tied });
  const command = new AssumeRoleWithWebIdentityCommand({ ...common(request), WebIdentityToken: token });
  return awsCall('AssumeRoleWithWebIdentity', () => client.send(command, { abortSignal: signal }));
}

async function withAmbient(client: STSClient, request: SessionRequest, { signal }: SessionContext) {
  const { sourceIdentity } = request;
  const tied = sourceIdentity === null ? {} : { SourceIdentity: sourceIdentity };
  const command = new AssumeRoleCommand({ ...common(request), ...tied });
  return awsCall('AssumeRole', () => client.send(command, { abortSignal: signal }));
}

function common({ role, sessionName, policy, durationSeconds }: SessionRequest) {
  const narrowed = policy === null ? {} : { Policy: policy };
  return { RoleArn: role, RoleSessionName: sessionName, DurationSeconds: durationSeconds, ...narrowed };
}

function isDeniable({ revoke, denyBy }: AwsProvider): boolean {
  return revoke === 'deny-policy' && denyBy === 'sourceIdentity';
}

/** Complete keys that live no longer than asked; anything else is not answered to anybody. */
export function checkCredentials(
  credentials: Credentials | undefined,
  { now, durationSeconds, ...made }: Pick<Session, 'arn' | 'sts'> & { now: Date; durationSeconds: number },
): Session {
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = credentials ?? {};
  if (!AccessKeyId || !SecretAccessKey || !SessionToken || Expiration === undefined)
    throw lying('incomplete credentials');
  // Written so that an invalid date is a lie as well.
  if (!(Expiration.getTime() <= now.getTime() + (durationSeconds + lieSeconds) * 1000))
    throw lying('a longer life than asked for');
  const keys = { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken };
  return { keys: new SecretOf(keys), expiresAt: Expiration, ...made };
}

export function lying(detail: string): Fault {
  return new Fault('provider_refused', { effect: 'unknown', detail: `the provider answered ${detail}` });
}
