import { createHash } from 'node:crypto';
import { GetRoleCommand, type IAMClient } from '@aws-sdk/client-iam';
import { GetScopedCredentialsCommand, STSClient } from '@aws-sdk/client-sts';
import { type CallContext, Fault, type Inspection } from '@mayfly/core';
import { awsCall, clientOptions, isUnknownAction } from './call.ts';
import { readCanary } from './canary.ts';
import { readDenyPolicy } from './deny.ts';
import { baseSeconds } from './plan.ts';
import { type AwsProvider, splitRole, stsEndpoint } from './provider.ts';
import { type RevokerOptions, Revokers } from './revokers.ts';
import { assume, audience, type Session } from './session.ts';

const doctorIdentity = 'mf-doctor-0';
/** Ceph has a tenant or nothing in its place, and knows no boundaries. */
const accountDigits = 12;

/** A session made to look opens nothing, whatever its role may. */
const nothing = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Deny', Action: '*', Resource: '*' }],
});

/**
 * What the endpoint can do, seen from its answers, and what our identities may there: each ceiling is assumed, under a
 * policy that denies everything, and not without what it could be denied by; each deny document is read, and who bounds
 * its writer. Writes nothing.
 */
export async function inspectAws(
  provider: AwsProvider,
  options: RevokerOptions,
  context: CallContext,
): Promise<readonly Inspection[]> {
  const found: Inspection[] = [];
  let session: Session | undefined;
  for (const role of provider.roles) {
    const looked = await lookAtRole({ provider, role }, options, context);
    session ??= looked.session;
    found.push(looked.inspection);
    if (looked.session !== undefined && provider.canary != null)
      found.push(await lookAtCanary({ provider, role }, options, context));
  }
  if (session !== undefined) found.push(await lookForScoped(provider, session, { options, context }));
  return [...found, ...(await lookAtRevoker(provider, options, context))];
}

interface OfRole {
  readonly provider: AwsProvider;
  readonly role: string;
}

async function lookAtRole(
  { provider, role }: OfRole,
  options: RevokerOptions,
  context: CallContext,
): Promise<{ inspection: Inspection; session?: Session }> {
  const { federation } = options;
  const subject = `mint ${splitRole(role).name}`;
  const attempt = (of: AwsProvider, sourceIdentity: string | null = doctorIdentity) =>
    assumeToLook({ provider: of, role, sourceIdentity, policy: nothing }, options, context);
  const refused = (says: string) => ({ inspection: { subject, ok: false, says } });
  // Taken only when nothing is said of what it is denied by: then that is what is missing.
  const undeniable = { ...provider, revoke: 'none' as const };
  let session: Session;
  try {
    session = await attempt(provider);
  } catch (error) {
    if ((await attempt(undeniable).catch(() => undefined)) !== undefined)
      return refused('answers no SourceIdentity, so nothing could be taken back; write denyBy: sessionName');
    return refused(
      `${saidBy(error)}; its trust policy needs ${await trustNeeded(provider, 'mint', federation)}`,
    );
  }
  if (provider.revoke === 'none' || provider.denyBy === 'sessionName')
    return { session, inspection: { subject, ok: true, says: 'may be assumed' } };
  if ((await attempt(undeniable, null).catch(() => undefined)) !== undefined)
    return refused(
      'may be assumed without a SourceIdentity, and such a session could not be taken back; its trust policy needs "Condition":{"StringLike":{"sts:SourceIdentity":"mf-*"}}',
    );
  return {
    session,
    inspection: { subject, ok: true, says: 'may be assumed, and not without a SourceIdentity' },
  };
}

interface Look extends OfRole {
  readonly sourceIdentity: string | null;
  readonly policy: string;
}

function assumeToLook(
  look: Look,
  { federation, connections }: RevokerOptions,
  context: CallContext,
): Promise<Session> {
  const sessionName = `mayfly-doctor-${createHash('sha256').update(look.role).digest('hex').slice(0, 16)}`;
  const request = { ...look, purpose: 'mint' as const, sessionName, durationSeconds: baseSeconds };
  return assume(request, { ...context, federation, connections });
}

/** A session that may read the canary and nothing else. */
async function lookAtCanary(
  { provider, role }: OfRole,
  options: RevokerOptions,
  context: CallContext,
): Promise<Inspection> {
  const subject = `canary ${splitRole(role).name}`;
  const statement = { Effect: 'Allow', Action: 's3:GetObject', Resource: provider.canary };
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  const look = { provider, role, sourceIdentity: doctorIdentity, policy };
  const session = await assumeToLook(look, options, context);
  const answer = await readCanary({ provider, session }, options.connections, context.signal);
  if (answer === 'let-in')
    return { subject, ok: true, says: 'can be read, so a denial can be seen to be felt' };
  const needs = `the role needs ${JSON.stringify(statement)}, and the object must exist in ${provider.region}`;
  return {
    subject,
    ok: false,
    says: `${answer === 'refused' ? 'may not be read' : 'cannot be read'}; ${needs}`,
  };
}

async function lookForScoped(
  provider: AwsProvider,
  session: Session,
  { options, context }: { options: RevokerOptions; context: CallContext },
): Promise<Inspection> {
  const client = new STSClient({
    ...clientOptions(stsEndpoint(provider), provider.region, options.connections),
    credentials: session.keys.reveal(),
  });
  const command = new GetScopedCredentialsCommand({ DurationSeconds: baseSeconds });
  const asked = awsCall('GetScopedCredentials', () => client.send(command, { abortSignal: context.signal }));
  const error = await asked.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const subject = 'scoped sessions';
  if (isUnknownAction(error))
    return {
      subject,
      ok: true,
      says: 'not there: each credential is a session whose policy carries its end',
    };
  // The session may do nothing, so a refusal is the answer of one who knows the action.
  if (error === undefined || (error instanceof Fault && error.effect === 'none'))
    return { subject, ok: true, says: 'there: sessions of seconds, cut from one per grant' };
  return { subject, ok: false, says: saidBy(error) };
}

/** The reaper's identity reads the document of each role; that it may write cannot be seen without writing. */
async function lookAtRevoker(
  provider: AwsProvider,
  options: RevokerOptions,
  context: CallContext,
): Promise<Inspection[]> {
  if (provider.revoke === 'none')
    return [{ subject: 'revoke', ok: true, says: 'off: credentials end by expiry alone' }];
  const found: Inspection[] = [];
  const revokers = new Revokers(options);
  for (const role of provider.roles) {
    const subject = `revoke ${splitRole(role).name}`;
    try {
      const at = { provider: provider.name, role };
      const document = await revokers.run(provider, context, (client) =>
        readDenyPolicy(client, at, context.signal),
      );
      const says = `its deny document can be read (${document === null ? 'none' : 'there'}), ${provider.denyBy}`;
      found.push({ subject, ok: true, says });
      if (splitRole(role).account.length === accountDigits)
        found.push(await revokers.run(provider, context, (client) => lookAtBoundary(client, role, context)));
    } catch (error) {
      found.push({
        subject,
        ok: false,
        says: `${saidBy(error)}; ${await revokerNeeds(provider, role, options)}`,
      });
    }
  }
  return found;
}

/** Who may write a policy on a role that it can have assumed may give it anything, unless the role is bounded. */
async function lookAtBoundary(client: IAMClient, role: string, context: CallContext): Promise<Inspection> {
  const { name } = splitRole(role);
  const subject = `boundary ${name}`;
  const command = new GetRoleCommand({ RoleName: name });
  try {
    const { Role } = await awsCall('GetRole', () => client.send(command, { abortSignal: context.signal }));
    const boundary = Role?.PermissionsBoundary?.PermissionsBoundaryArn;
    if (boundary !== undefined)
      return { subject, ok: true, says: `is ${boundary.split('/').slice(1).join('/')}` };
    const says = `none, so whoever writes its deny document could give it any right; aws iam put-role-permissions-boundary --role-name ${name} --permissions-boundary POLICY_ARN`;
    return { subject, ok: false, says };
  } catch (error) {
    const statement = JSON.stringify({ Effect: 'Allow', Action: 'iam:GetRole', Resource: role });
    return { subject, ok: false, says: `${saidBy(error)}; to see it, the reaper needs ${statement}` };
  }
}

async function revokerNeeds(
  provider: AwsProvider,
  role: string,
  { federation }: RevokerOptions,
): Promise<string> {
  const Action = ['iam:PutRolePolicy', 'iam:GetRolePolicy', 'iam:DeleteRolePolicy', 'iam:GetRole'];
  const statement = JSON.stringify({ Effect: 'Allow', Action, Resource: role });
  const revoker = provider.revoker?.role;
  if (revoker === undefined) return `the broker's own identity needs ${statement}`;
  const { name } = splitRole(revoker);
  return `${name} needs ${statement} and in its trust policy ${await trustNeeded(provider, 'revoke', federation)}`;
}

/** The statement that lets our assertion in; for an ambient identity that AWS knows and we do not, its form. */
async function trustNeeded(
  { name, auth, roles: [role = ''] }: AwsProvider,
  purpose: 'mint' | 'revoke',
  federation: RevokerOptions['federation'],
): Promise<string> {
  const { partition, account } = splitRole(role);
  if (auth === 'ambient')
    return '{"Effect":"Allow","Principal":{"AWS":"THE BROKER"},"Action":["sts:AssumeRole","sts:SetSourceIdentity"]}';
  const issuer = issuerOf(await federation.sign({ provider: name, purpose, audience }));
  const StringEquals = { [`${issuer}:sub`]: `mayfly:${name}:${purpose}` };
  return JSON.stringify({
    Effect: 'Allow',
    Principal: { Federated: `arn:${partition}:iam::${account}:oidc-provider/${issuer}` },
    Action: ['sts:AssumeRoleWithWebIdentity', ...(account === '' ? [] : ['sts:SetSourceIdentity'])],
    Condition: { StringEquals },
  });
}

/** As IAM writes it: without its scheme. Of our own assertion, so nothing is verified. */
function issuerOf(assertion: string): string {
  const claims: unknown = JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString());
  return String(Reflect.get(Object(claims), 'iss')).replace(/^https?:\/\//, '');
}

/** Never the provider's own text. */
function saidBy(error: unknown): string {
  return error instanceof Fault ? (error.detail ?? error.reason) : 'failed';
}
