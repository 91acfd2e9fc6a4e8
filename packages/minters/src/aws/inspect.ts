import { createHash } from 'node:crypto';
import { GetScopedCredentialsCommand, STSClient } from '@aws-sdk/client-sts';
import { type CallContext, Fault, type Inspection } from '@mayfly/core';
import { awsCall, clientOptions, isUnknownAction } from './call.ts';
import { iamClient, type RevokerOptions, readDenyPolicy } from './deny.ts';
import { baseSeconds } from './plan.ts';
import { type AwsProvider, splitRole, stsEndpoint } from './provider.ts';
import { assume, audience, type Session } from './session.ts';

/** A session made to look opens nothing, whatever its role may. */
const nothing = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Deny', Action: '*', Resource: '*' }],
});

/**
 * What the endpoint can do, seen from its answers, and what our identities may there: each ceiling is assumed, under a
 * policy that denies everything, and each deny document is read. Writes nothing.
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
  { federation, connections }: RevokerOptions,
  context: CallContext,
): Promise<{ inspection: Inspection; session?: Session }> {
  const subject = `mint ${splitRole(role).name}`;
  const sessionName = `mayfly-doctor-${createHash('sha256').update(role).digest('hex').slice(0, 16)}`;
  const sourceIdentity = 'mf-doctor-0';
  const request = { provider, purpose: 'mint' as const, role, sessionName, sourceIdentity, policy: nothing };
  const call = { ...context, federation, connections };
  const attempt = (of: AwsProvider) =>
    assume({ ...request, provider: of, durationSeconds: baseSeconds }, call);
  try {
    const session = await attempt(provider);
    return { session, inspection: { subject, ok: true, says: 'may be assumed' } };
  } catch (error) {
    // Taken only when nothing is said of what it is denied by: then that is what is missing.
    const undeniable = await attempt({ ...provider, revoke: 'none' }).catch(() => undefined);
    const says =
      undeniable === undefined
        ? `${saidBy(error)}; its trust policy needs ${await trustNeeded(provider, 'mint', federation)}`
        : 'answers no SourceIdentity, so nothing could be taken back; write denyBy: sessionName';
    return { inspection: { subject, ok: false, says } };
  }
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
  for (const role of provider.roles) {
    const subject = `revoke ${splitRole(role).name}`;
    try {
      const client = await iamClient(provider, context, { options, revokers: new Map() });
      const document = await readDenyPolicy(client, role, context.signal);
      const says = `its deny document can be read (${document === null ? 'none' : 'there'}), ${provider.denyBy}`;
      found.push({ subject, ok: true, says });
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

async function revokerNeeds(
  provider: AwsProvider,
  role: string,
  { federation }: RevokerOptions,
): Promise<string> {
  const Action = ['iam:PutRolePolicy', 'iam:GetRolePolicy', 'iam:DeleteRolePolicy'];
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
