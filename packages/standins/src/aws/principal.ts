import type { Context, Layers } from './evaluate.ts';
import type { Principal } from './sigv4.ts';
import type { AwsState, Session } from './state.ts';

interface At {
  readonly state: AwsState;
  readonly now: Date;
}

/** What a session may at most: its role's policies, the boundary, and every session layer. */
export function identityLayers(session: Session, { state, now }: At): Layers {
  const { role, layers } = session;
  const inline = [...role.inline.values()].filter(({ effectiveAt }) => effectiveAt <= now.getTime());
  const boundary =
    role.boundaryArn === undefined ? undefined : (state.managed.get(role.boundaryArn) ?? { Statement: [] });
  return { identity: inline.map(({ policy }) => policy), boundary, sessions: layers };
}

/** Global condition keys of the caller. */
export function principalContext({ session, signedAt, authType }: Principal, { state, now }: At): Context {
  const base: Record<string, string> = {
    'aws:CurrentTime': now.toISOString(),
    'aws:EpochTime': String(Math.floor(now.getTime() / 1000)),
    'aws:ResourceAccount': state.account,
    's3:ResourceAccount': state.account,
    's3:authType': authType,
    's3:signatureversion': 'AWS4-HMAC-SHA256',
    's3:signatureAge': String(Math.max(0, now.getTime() - signedAt.getTime())),
  };
  if (session === undefined) return base;
  const { role, sessionName, sourceIdentity, tags, issuedAt } = session;
  const tagged = Object.entries(tags).map(([key, value]) => [`aws:PrincipalTag/${key}`, value]);
  return {
    ...base,
    'aws:userid': `${role.id}:${sessionName}`,
    'aws:PrincipalArn': role.arn,
    'aws:TokenIssueTime': issuedAt.toISOString(),
    ...(sourceIdentity === undefined ? {} : { 'aws:SourceIdentity': sourceIdentity }),
    ...Object.fromEntries(tagged),
  };
}
