/** URIs of RFC 8693 section 3 and our own, as they stand on the wire (contract.md section 5). */
export const grantTypeTokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** Poll of a deferred token response (draft-ietf-oauth-deferred-token-response). */
export const grantTypeDeferred = 'urn:ietf:params:oauth:grant-type:deferred';

export const tokenType = {
  jwt: 'urn:ietf:params:oauth:token-type:jwt',
  idToken: 'urn:ietf:params:oauth:token-type:id_token',
  accessToken: 'urn:ietf:params:oauth:token-type:access_token',
  awsCredentials: 'urn:mayfly:token-type:aws-credentials',
  azureSas: 'urn:mayfly:token-type:azure-sas',
  /** A string of ExecCredential JSON (client.authentication.k8s.io/v1), as kubectl takes it from a plugin. */
  kubernetes: 'urn:mayfly:token-type:kubernetes',
} as const;

/** JOSE `typ` of the tokens that the broker signs. */
export const joseType = { taskToken: 'mayfly-task+jwt', accessToken: 'at+jwt', federation: 'JWT' } as const;

export const detailType = 'mayfly_tool_call';
export const actions = [
  'read',
  'list',
  'create',
  'write',
  'delete',
  'send',
  'receive',
  'invoke',
  'decrypt',
] as const;
export type Action = (typeof actions)[number];
export const effects = ['read', 'write', 'delete', 'egress', 'privilege'] as const;
export type Effect = (typeof effects)[number];
export const endMethods = ['deleted', 'denied', 'cut', 'expired', 'never_minted'] as const;
export type EndMethod = (typeof endMethods)[number];
export const roles = [
  'admin',
  'template-admin',
  'orchestrator',
  'approver',
  'operator',
  'auditor',
  'break-glass',
] as const;
export type Role = (typeof roles)[number];
