import type { Access } from './boundary.ts';
import { denied, GcpError } from './errors.ts';
import { permissionsOf, scopesFor } from './roles.ts';
import type { Call } from './server.ts';
import type { AccessToken, ServiceAccount } from './state.ts';

/** The token of this request, alive now; notes who asks. */
export function bearerOf({ request, state, now, trace }: Call): AccessToken {
  const [, text = ''] = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
  const token = state.tokens.get(text);
  if (token === undefined) throw new GcpError(401, 'UNAUTHENTICATED');
  const { principal } = token;
  trace.principal = principal.kind === 'account' ? principal.email : principal.name;
  const account = principal.kind === 'account' ? state.accounts.get(principal.email) : undefined;
  if (token.expiresAt <= now || account?.disabled) throw new GcpError(401, 'UNAUTHENTICATED');
  return token;
}

/** Scope, the account's own roles and the boundary must all allow it. */
export function authorizeToken(call: Call, access: Access): void {
  const { principal, scopes, boundary } = bearerOf(call);
  const account = principal.kind === 'account' ? call.state.accounts.get(principal.email) : undefined;
  const scoped = scopesFor(access.permission).some((scope) => scopes.includes(scope));
  if (account === undefined || !scoped || !(boundary?.allows(access) ?? true))
    throw denied(access.permission, access.name);
  authorizeAccount(account, access);
}

export function authorizeAccount(
  { roles, disabled }: ServiceAccount,
  { permission, bucket, name }: Access,
): void {
  const held = (roles.get(bucket) ?? []).flatMap((role) => permissionsOf(role) ?? []);
  if (disabled || !held.includes(permission)) throw denied(permission, name);
}
