import {
  type Actor,
  type Confirmation,
  Fault,
  type Minter,
  type MintPlan,
  type MintRequest,
  Refusal,
  type ResourceServer,
  Secret,
  workloadName,
} from '@mayfly/core';
import { detailType, formatId, joseType, tokenType } from '@mayfly/protocol';

type SigningAlgorithm = ResourceServer['signingAlgorithm'];

export interface TokenMinterOptions {
  /** `iss` of the token. */
  readonly issuer: string;
  /** Signs with the broker's token key of this algorithm; the keys stay with the broker. */
  sign(
    claims: Readonly<Record<string, unknown>>,
    options: { typ: string; alg: SigningAlgorithm },
  ): Promise<string>;
}

/**
 * Tool tokens: at+jwt (RFC 9068) for the audience of one ResourceServer, signed in memory. The tool server enforces
 * resource and actions, so `enforcement` says `broker` for them: nobody but us has narrowed it, and the server must look.
 */
export function createTokenMinter(options: TokenMinterOptions): Minter {
  return {
    kind: 'token',
    local: true,
    plan: (request) => planToken(request, options.issuer),
    mint: async (plan) => {
      const { claims, alg } = bodyOf(plan);
      const token = await options.sign(claims, { typ: joseType.accessToken, alg });
      return { credential: new Secret(token), expiresAt: new Date(plan.notAfter), keyHash: null };
    },
    // Introspection answers inactive from the commit of the end on; an offline server knows only `exp`.
    revoke: async (plan) => (plan.ends.by === 'expired' ? 'wait-for-expiry' : 'gone'),
  };
}

function planToken(request: MintRequest, issuer: string): MintPlan {
  const { server, identifier, notAfter, now, holder } = request;
  if (server === null) throw new Refusal('tool_not_granted', { detail: 'the resource server is not active' });
  if (!isPlainHttps(identifier))
    throw new Refusal('identifier_malformed', { detail: 'not a plain https URI' });
  const task = formatId('tsk', request.taskId);
  const detail = { type: detailType, task, tool: request.tool, identifier, actions: [...request.actions] };
  const digest = request.argsDigest === null ? {} : { args_digest: request.argsDigest };
  return {
    kind: 'token',
    purpose: 'agent',
    issuanceId: request.issuanceId,
    taskId: request.taskId,
    grantId: request.grantId,
    generation: request.generation,
    provider: request.provider.name,
    access: request.access,
    identifier,
    actions: request.actions,
    nativePermissions: request.actions,
    notAfter: notAfter.toISOString(),
    reach: formatId('isn', request.issuanceId),
    ends:
      server.verification === 'introspect'
        ? { by: 'denied', guaranteedSeconds: server.cacheSeconds, typicalSeconds: server.cacheSeconds }
        : { by: 'expired' },
    enforcement: { resource: 'broker', actions: 'broker', ttl: 'provider' },
    issuedTokenType: tokenType.accessToken,
    tokenType: holder.confirmation?.jkt === undefined ? 'Bearer' : 'DPoP',
    body: {
      alg: server.signingAlgorithm,
      claims: {
        iss: issuer,
        aud: server.audience,
        sub: request.workload,
        client_id: presenterOf(request),
        iat: Math.floor(now.getTime() / 1000),
        exp: Math.floor(notAfter.getTime() / 1000),
        jti: formatId('isn', request.issuanceId),
        txn: task,
        authorization_details: [{ ...detail, ...digest }],
        ...actClaim(holder.actors),
        ...cnfClaim(holder.confirmation),
      },
    },
  };
}

/** RFC 9068 section 2.2: the client is whoever asked for the token. */
function presenterOf({ workload, holder: { actors } }: MintRequest): string {
  const [actor] = actors;
  return actor === undefined ? workload : workloadName(actor);
}

/** RFC 8693 section 4.1: the present actor outermost, those before it nested inside. */
function actClaim([actor, ...earlier]: readonly Actor[]): { act?: Readonly<Record<string, unknown>> } {
  if (actor === undefined) return {};
  return { act: { iss: actor.issuer, sub: actor.subject, ...actClaim(earlier) } };
}

function cnfClaim(confirmation: Confirmation | null): { cnf?: Readonly<Record<string, string>> } {
  if (confirmation === null) return {};
  const { jkt, x5tS256 } = confirmation;
  return {
    cnf: {
      ...(jkt === undefined ? {} : { jkt }),
      ...(x5tS256 === undefined ? {} : { 'x5t#S256': x5tS256 }),
    },
  };
}

// An empty query or fragment (`?`, `#` at the end) is none to the URL parser; `//` and `/..;` are folded by some servers.
const trick = /[?#%\\]|[^:]\/\/|\/\.{1,2};/;

/** https, no userinfo, fragment, query or percent tricks; exactly as the URL parser would write it. */
function isPlainHttps(identifier: string): boolean {
  if (!URL.canParse(identifier) || trick.test(identifier)) return false;
  const { protocol, username, password, href } = new URL(identifier);
  const plain = protocol === 'https:' && username === '' && password === '';
  return plain && (href === identifier || href === `${identifier}/`);
}

function bodyOf({ body }: MintPlan): { claims: Readonly<Record<string, unknown>>; alg: SigningAlgorithm } {
  const { claims, alg } = body;
  if (typeof claims === 'object' && claims !== null && (alg === 'ES256' || alg === 'RS256'))
    return { claims: { ...claims }, alg };
  throw new Fault('internal', { effect: 'none', detail: 'token plan without claims or algorithm' });
}
