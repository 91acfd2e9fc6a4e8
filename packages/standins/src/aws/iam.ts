import { AwsError, denied } from './errors.ts';
import { allows, MalformedPolicy, type Policy, parsePolicy } from './evaluate.ts';
import { identityLayers, principalContext } from './principal.ts';
import type { Principal } from './sigv4.ts';
import { type AwsState, identifier, type Role } from './state.ts';

/** Inline policies of one role, white space not counted. */
const inlineCharactersMax = 10_240;

export interface IamCall {
  readonly action: string;
  readonly params: URLSearchParams;
  readonly principal: Principal;
  readonly state: AwsState;
  readonly now: Date;
  /** How long a policy write takes to be felt. */
  readonly propagationMs: number;
}

type Handler = (call: IamCall) => Record<string, unknown>;

export const iamActions: Readonly<Record<string, Handler>> = {
  CreateRole: (call) => {
    const { params, state, now } = call;
    const name = required(params, 'RoleName');
    const path = params.get('Path') ?? '/';
    const arn = `arn:aws:iam::${state.account}:role${path}${name}`;
    authorize(call, arn);
    if (state.roles.has(name)) throw new AwsError('EntityAlreadyExists', 409);
    const role: Role = {
      name,
      path,
      arn,
      id: `AROA${identifier(17)}`,
      trust: policyOf(required(params, 'AssumeRolePolicyDocument')),
      maxSessionSeconds: Number(params.get('MaxSessionDuration') ?? '3600'),
      boundaryArn: params.get('PermissionsBoundary') ?? undefined,
      inline: new Map(),
      created: now,
    };
    state.roles.set(name, role);
    return { Role: roleView(role) };
  },
  GetRole: (call) => ({ Role: roleView(findRole(call)) }),
  DeleteRole: (call) => {
    const role = findRole(call);
    if (role.inline.size > 0) throw new AwsError('DeleteConflict', 409);
    call.state.roles.delete(role.name);
    return {};
  },
  UpdateAssumeRolePolicy: (call) => {
    findRole(call).trust = policyOf(required(call.params, 'PolicyDocument'));
    return {};
  },
  PutRolePermissionsBoundary: (call) => {
    findRole(call).boundaryArn = required(call.params, 'PermissionsBoundary');
    return {};
  },
  DeleteRolePermissionsBoundary: (call) => {
    findRole(call).boundaryArn = undefined;
    return {};
  },
  PutRolePolicy: (call) => {
    const { params, now, propagationMs } = call;
    const role = findRole(call);
    const name = required(params, 'PolicyName');
    const text = required(params, 'PolicyDocument');
    const policy = policyOf(text);
    const others = [...role.inline].filter(([other]) => other !== name).map(([, one]) => one.text);
    if ([...others, text].reduce((sum, one) => sum + one.replace(/\s/g, '').length, 0) > inlineCharactersMax)
      throw new AwsError('LimitExceeded', 409, 'Maximum policy size of 10240 bytes exceeded');
    role.inline.set(name, { text, policy, effectiveAt: now.getTime() + propagationMs });
    return {};
  },
  GetRolePolicy: (call) => {
    const role = findRole(call);
    const PolicyName = required(call.params, 'PolicyName');
    const found = role.inline.get(PolicyName);
    if (found === undefined) throw new AwsError('NoSuchEntity', 404);
    return { RoleName: role.name, PolicyName, PolicyDocument: encodeURIComponent(found.text) };
  },
  DeleteRolePolicy: (call) => {
    if (!findRole(call).inline.delete(required(call.params, 'PolicyName')))
      throw new AwsError('NoSuchEntity', 404);
    return {};
  },
  ListRolePolicies: (call) => ({ PolicyNames: [...findRole(call).inline.keys()], IsTruncated: 'false' }),
  CreatePolicy: (call) => {
    const { params, state } = call;
    const arn = `arn:aws:iam::${state.account}:policy${params.get('Path') ?? '/'}${required(params, 'PolicyName')}`;
    authorize(call, arn);
    state.managed.set(arn, policyOf(required(params, 'PolicyDocument')));
    return { Policy: { Arn: arn, PolicyName: required(params, 'PolicyName') } };
  },
  CreateOpenIDConnectProvider: (call) => {
    const { params, state } = call;
    const url = required(params, 'Url');
    const arn = `arn:aws:iam::${state.account}:oidc-provider/${url.replace(/^https?:\/\//, '')}`;
    authorize(call, arn);
    if (state.providers.has(arn)) throw new AwsError('EntityAlreadyExists', 409);
    state.providers.set(arn, { arn, url, clientIds: list(params, 'ClientIDList') });
    return { OpenIDConnectProviderArn: arn };
  },
  DeleteOpenIDConnectProvider: (call) => {
    const arn = required(call.params, 'OpenIDConnectProviderArn');
    authorize(call, arn);
    if (!call.state.providers.delete(arn)) throw new AwsError('NoSuchEntity', 404);
    return {};
  },
  ListOpenIDConnectProviders: (call) => {
    authorize(call, '*');
    return { OpenIDConnectProviderList: [...call.state.providers.keys()].map((Arn) => ({ Arn })) };
  },
  GetOpenIDConnectProvider: (call) => {
    const arn = required(call.params, 'OpenIDConnectProviderArn');
    authorize(call, arn);
    const found = call.state.providers.get(arn);
    if (found === undefined) throw new AwsError('NoSuchEntity', 404);
    return { Url: found.url.replace(/^https?:\/\//, ''), ClientIDList: found.clientIds, ThumbprintList: [] };
  },
};

function findRole(call: IamCall): Role {
  const name = required(call.params, 'RoleName');
  const role = call.state.roles.get(name);
  authorize(call, role?.arn ?? `arn:aws:iam::${call.state.account}:role/${name}`, role?.boundaryArn);
  if (role === undefined)
    throw new AwsError('NoSuchEntity', 404, `The role with name ${name} cannot be found.`);
  return role;
}

/** The account's root may everything; a session what its layers allow, with the boundary as condition key. */
function authorize({ action, principal, state, now }: IamCall, resource: string, boundaryArn?: string): void {
  const { session } = principal;
  if (session === undefined) return;
  const boundary = boundaryArn === undefined ? {} : { 'iam:PermissionsBoundary': boundaryArn };
  const context = { ...principalContext(principal, { state, now }), ...boundary };
  const native = `iam:${action}`;
  if (!allows(identityLayers(session, { state, now }), { action: native, resource, context }))
    throw denied(native, resource);
}

function policyOf(text: string): Policy {
  try {
    return parsePolicy(text);
  } catch (cause) {
    if (cause instanceof MalformedPolicy) throw new AwsError('MalformedPolicyDocument', 400, cause.message);
    throw cause;
  }
}

function required(params: URLSearchParams, name: string): string {
  const value = params.get(name);
  if (value === null || value === '') throw new AwsError('ValidationError', 400, `${name} is required`);
  return value;
}

function list(params: URLSearchParams, name: string): string[] {
  const values: string[] = [];
  for (let index = 1; params.has(`${name}.member.${index}`); index += 1)
    values.push(params.get(`${name}.member.${index}`) ?? '');
  return values;
}

function roleView(role: Role): Record<string, unknown> {
  return {
    RoleName: role.name,
    Path: role.path,
    Arn: role.arn,
    RoleId: role.id,
    CreateDate: role.created.toISOString(),
    MaxSessionDuration: String(role.maxSessionSeconds),
    AssumeRolePolicyDocument: encodeURIComponent(JSON.stringify(role.trust)),
    ...(role.boundaryArn === undefined
      ? {}
      : {
          PermissionsBoundary: {
            PermissionsBoundaryType: 'Policy',
            PermissionsBoundaryArn: role.boundaryArn,
          },
        }),
  };
}
