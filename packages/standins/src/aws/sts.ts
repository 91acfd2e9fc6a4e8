import { randomBytes } from 'node:crypto';
import { AwsError, denied } from './errors.ts';
import {
  allows,
  type Context,
  holdsAll,
  MalformedPolicy,
  type Policy,
  parsePolicy,
  type Statement,
  statementsOf,
} from './evaluate.ts';
import { identityLayers, principalContext } from './principal.ts';
import type { Principal } from './sigv4.ts';
import { type AwsState, identifier, type Role, type Session } from './state.ts';
import type { VerifyWebIdentity } from './web-identity.ts';

/** Limits of the STS API reference. */
const policyCharactersMax = 2048;
const layersMax = 3;
const nameForm = /^[\w+=,.@-]{2,64}$/;
const policyForm = /^[\u0009\u000a\u000d\u0020-\u00ff]+$/;
const chainingSecondsMax = 3600;

export interface StsCall {
  readonly params: URLSearchParams;
  readonly principal: Principal | undefined;
  readonly state: AwsState;
  readonly now: Date;
  readonly scopedSessions: boolean;
  readonly verifyWebIdentity: VerifyWebIdentity;
}

export interface StsAnswer {
  readonly result: Readonly<Record<string, unknown>>;
  readonly session: Session | undefined;
}

export const stsActions: Readonly<Record<string, (call: StsCall) => Promise<StsAnswer>>> = {
  AssumeRole: assumeRole,
  AssumeRoleWithWebIdentity: assumeRoleWithWebIdentity,
  GetScopedCredentials: getScopedCredentials,
  GetCallerIdentity: getCallerIdentity,
};

async function assumeRole(call: StsCall): Promise<StsAnswer> {
  const { params, principal, state, now } = call;
  if (principal === undefined) throw new AwsError('MissingAuthenticationToken', 403);
  const role = findRole(call);
  const sourceIdentity = params.get('SourceIdentity') ?? principal.session?.sourceIdentity;
  const tags = readTags(params);
  const context = {
    ...principalContext(principal, { state, now }),
    ...sessionContext(params, sourceIdentity, tags),
  };
  for (const action of neededActions('sts:AssumeRole', sourceIdentity, tags)) {
    const { session } = principal;
    // Root of the same account may by its identity; the trust policy must allow in any case.
    if (
      session !== undefined &&
      !allows(identityLayers(session, { state, now }), { action, resource: role.arn, context })
    )
      throw denied(action, role.arn);
    if (!trusts(role, { action, principalArn: arnOf(principal, state), federated: undefined, context }))
      throw denied(action, role.arn);
  }
  const chained = principal.session !== undefined;
  return newSession(call, { role, sourceIdentity, tags, chained, webIdentity: undefined });
}

async function assumeRoleWithWebIdentity(call: StsCall): Promise<StsAnswer> {
  const { params, now } = call;
  const role = findRole(call);
  const identity = await call.verifyWebIdentity(params.get('WebIdentityToken') ?? '', {
    state: call.state,
    now,
  });
  const { provider, subject, audience, sourceIdentity, tags } = identity;
  const issuer = provider.url.replace(/^https?:\/\//, '');
  const context: Context = {
    ...sessionContext(params, sourceIdentity, tags),
    [`${issuer}:sub`]: subject,
    [`${issuer}:aud`]: audience,
    'aws:CurrentTime': now.toISOString(),
  };
  for (const action of neededActions('sts:AssumeRoleWithWebIdentity', sourceIdentity, tags))
    if (!trusts(role, { action, principalArn: undefined, federated: provider.arn, context }))
      throw denied(action, role.arn);
  const webIdentity = { provider: provider.arn, subject, audience };
  const answer = await newSession(call, { role, sourceIdentity, tags, chained: false, webIdentity });
  const extra = { SubjectFromWebIdentityToken: subject, Audience: audience, Provider: provider.arn };
  return { ...answer, result: { ...answer.result, ...extra } };
}

async function getScopedCredentials(call: StsCall): Promise<StsAnswer> {
  const { params, principal, state, now } = call;
  if (!call.scopedSessions)
    throw new AwsError(
      'InvalidAction',
      400,
      'The action GetScopedCredentials is not valid for this web service.',
    );
  const base = principal?.session;
  if (base === undefined) throw new AwsError('InvalidSubjectCredentials', 400);
  const policy = readPolicy(params);
  const seconds = params.get('DurationSeconds');
  if (policy === undefined && seconds === null)
    throw new AwsError('ValidationError', 400, 'Policy or DurationSeconds is required');
  if (policy !== undefined && base.layers.length >= layersMax)
    throw new AwsError('AccessDenied', 403, 'too many session policies');
  const left = Math.floor((base.expiresAt.getTime() - now.getTime()) / 1000);
  const duration = seconds === null ? left : wholeNumber(seconds);
  if (duration < 1) throw new AwsError('ValidationError', 400, 'DurationSeconds');
  if (duration > left) throw new AwsError('InsufficientSessionLifetime', 400);
  const description = params.get('ScopedSessionDescription') ?? '';
  if (description.length > 256) throw new AwsError('ValidationError', 400, 'ScopedSessionDescription');
  const scopedId = identifier(20);
  const session: Session = {
    ...base,
    ...newKeys(),
    issuedAt: now,
    expiresAt: new Date(now.getTime() + duration * 1000),
    layers: policy === undefined ? base.layers : [...base.layers, policy],
    scopedId,
  };
  state.sessions.set(session.accessKeyId, session);
  const result = {
    Credentials: credentials(session),
    SessionInfo: { ScopedSessionId: scopedId, Arn: sessionArn(session, state) },
    ScopedPoliciesCount: String(session.layers.length),
    ...(base.sourceIdentity === undefined ? {} : { SourceIdentity: base.sourceIdentity }),
    SessionTokenUtilization: '10',
    SessionTokenSize: String(session.token.length),
  };
  return { result, session };
}

async function getCallerIdentity({ principal, state }: StsCall): Promise<StsAnswer> {
  if (principal === undefined) throw new AwsError('MissingAuthenticationToken', 403);
  const { session } = principal;
  const UserId = session === undefined ? state.account : `${session.role.id}:${session.sessionName}`;
  return { result: { Arn: arnOf(principal, state), UserId, Account: state.account }, session: undefined };
}

interface NewSession {
  readonly role: Role;
  readonly sourceIdentity: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly chained: boolean;
  readonly webIdentity: Session['webIdentity'];
}

async function newSession({ params, state, now }: StsCall, made: NewSession): Promise<StsAnswer> {
  const sessionName = params.get('RoleSessionName') ?? '';
  if (!nameForm.test(sessionName)) throw new AwsError('ValidationError', 400, 'RoleSessionName');
  const { sourceIdentity, role, chained, tags, webIdentity } = made;
  if (sourceIdentity !== undefined && (!nameForm.test(sourceIdentity) || sourceIdentity.startsWith('aws:')))
    throw new AwsError('ValidationError', 400, 'SourceIdentity');
  const duration = wholeNumber(params.get('DurationSeconds') ?? '3600');
  if (duration < 900 || duration > 43_200 || duration > role.maxSessionSeconds)
    throw new AwsError(
      'ValidationError',
      400,
      'The requested DurationSeconds exceeds the limits set for this role.',
    );
  if (chained && duration > chainingSecondsMax)
    throw new AwsError('ValidationError', 400, 'role chaining is limited to one hour');
  const policy = readPolicy(params);
  const session: Session = {
    ...newKeys(),
    role,
    sessionName,
    sourceIdentity,
    tags,
    issuedAt: now,
    expiresAt: new Date(now.getTime() + duration * 1000),
    layers: policy === undefined ? [] : [policy],
    scopedId: undefined,
    webIdentity,
  };
  state.sessions.set(session.accessKeyId, session);
  const result = {
    Credentials: credentials(session),
    AssumedRoleUser: { AssumedRoleId: `${role.id}:${sessionName}`, Arn: sessionArn(session, state) },
    ...(policy === undefined
      ? {}
      : {
          PackedPolicySize: String(
            Math.ceil(((params.get('Policy') ?? '').length / policyCharactersMax) * 100),
          ),
        }),
    ...(sourceIdentity === undefined ? {} : { SourceIdentity: sourceIdentity }),
  };
  return { result, session };
}

function findRole({ params, state }: StsCall): Role {
  const arn = params.get('RoleArn') ?? '';
  const role = [...state.roles.values()].find((one) => one.arn === arn);
  if (role === undefined) throw denied('sts:AssumeRole', arn);
  return role;
}

function neededActions(
  action: string,
  sourceIdentity: string | undefined,
  tags: Readonly<Record<string, string>>,
): string[] {
  return [
    action,
    ...(sourceIdentity === undefined ? [] : ['sts:SetSourceIdentity']),
    ...(Object.keys(tags).length === 0 ? [] : ['sts:TagSession']),
  ];
}

interface Trusting {
  readonly action: string;
  readonly principalArn: string | undefined;
  readonly federated: string | undefined;
  readonly context: Context;
}

function trusts({ trust }: Role, { action, principalArn, federated, context }: Trusting): boolean {
  const fits = (statement: Statement) => {
    const actions = [statement.Action ?? []].flat();
    return (
      actions.includes(action) &&
      namesPrincipal(statement.Principal, { principalArn, federated }) &&
      holdsAll(statement.Condition, context)
    );
  };
  const statements = statementsOf(trust).filter(fits);
  return (
    statements.some(({ Effect }) => Effect === 'Allow') && !statements.some(({ Effect }) => Effect === 'Deny')
  );
}

function namesPrincipal(
  principal: unknown,
  caller: { principalArn: string | undefined; federated: string | undefined },
): boolean {
  if (principal === '*') return true;
  const names = (member: string): unknown[] => [Reflect.get(Object(principal), member) ?? []].flat();
  if (caller.federated !== undefined) return names('Federated').includes(caller.federated);
  const root = caller.principalArn?.replace(/^(arn:aws:)(?:iam|sts)(::\d+:).*$/, '$1iam$2root');
  return names('AWS').some((name) => name === '*' || name === caller.principalArn || name === root);
}

function sessionContext(
  params: URLSearchParams,
  sourceIdentity: string | undefined,
  tags: Readonly<Record<string, string>>,
): Context {
  const tagKeys = Object.entries(tags).map(([key, value]) => [`aws:RequestTag/${key}`, value]);
  return {
    'sts:RoleSessionName': params.get('RoleSessionName') ?? undefined,
    'sts:ExternalId': params.get('ExternalId') ?? undefined,
    'sts:SourceIdentity': sourceIdentity,
    ...Object.fromEntries(tagKeys),
    ...(tagKeys.length === 0 ? {} : { 'aws:TagKeys': Object.keys(tags) }),
  };
}

function readTags(params: URLSearchParams): Record<string, string> {
  const tags: Record<string, string> = {};
  for (let index = 1; params.has(`Tags.member.${index}.Key`); index += 1)
    tags[params.get(`Tags.member.${index}.Key`) ?? ''] = params.get(`Tags.member.${index}.Value`) ?? '';
  return tags;
}

function readPolicy(params: URLSearchParams): Policy | undefined {
  const text = params.get('Policy');
  if (text === null || text === '') return undefined;
  if (text.length > policyCharactersMax || !policyForm.test(text))
    throw new AwsError('ValidationError', 400, 'policy too long or with characters that are not accepted');
  try {
    return parsePolicy(text);
  } catch (cause) {
    if (cause instanceof MalformedPolicy) throw new AwsError('MalformedPolicyDocument', 400, cause.message);
    throw cause;
  }
}

function wholeNumber(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new AwsError('ValidationError', 400, 'not a whole number');
  return Number.parseInt(text, 10);
}

function newKeys() {
  return {
    accessKeyId: `ASIA${identifier(16)}`,
    secret: randomBytes(30).toString('base64'),
    token: randomBytes(96).toString('base64'),
  };
}

function credentials({ accessKeyId, secret, token, expiresAt }: Session) {
  const Expiration = expiresAt.toISOString().replace(/\.\d{3}Z$/, 'Z');
  return { AccessKeyId: accessKeyId, SecretAccessKey: secret, SessionToken: token, Expiration };
}

function sessionArn({ role, sessionName }: Session, { account }: AwsState): string {
  return `arn:aws:sts::${account}:assumed-role/${role.name}/${sessionName}`;
}

function arnOf({ session }: Principal, state: AwsState): string {
  return session === undefined ? `arn:aws:iam::${state.account}:root` : sessionArn(session, state);
}
