import type { Action, Effect, Role } from '@mayfly/protocol';
import type { DeviationRules } from './deviation.ts';
import type { Pattern } from './pattern.ts';
import type { SubjectMatch } from './workload.ts';

/** A checked, compiled, immutable version of a GrantTemplate. Made by packages/policy; durations in seconds. */
export interface Template {
  readonly name: string;
  readonly version: number;
  readonly owner: string | null;
  readonly mode: 'enforce' | 'disabled';
  readonly workloads: readonly SubjectMatch[];
  readonly openers: readonly Opener[];
  readonly params: Readonly<Record<string, ParamSpec>>;
  readonly task: {
    readonly maxDurationSeconds: number;
    readonly leaseSeconds: number;
    readonly maxOpen: number | null;
    readonly opensPerHour: number | null;
    /** The ref of a task is made of these claims of its workload; empty: the caller names it. */
    readonly refClaims: readonly string[];
    readonly children: ChildRule | null;
  };
  readonly delegation: DelegationRule;
  readonly deviation: DeviationRules;
  /** Whether open tasks end when their template, or whom it trusts, has changed. */
  readonly onChange: 'end' | 'keep';
  /** Who may signal what it sees of the tasks of this template. */
  readonly sources: readonly SubjectMatch[];
  readonly grants: readonly GrantSpec[];
}

/** What a task of this template may open beneath it. */
export interface ChildRule {
  /** Children of one task, ended ones included. */
  readonly max: number;
  /** Levels beneath a task of this template. */
  readonly depth: number;
  readonly templates: readonly string[];
}

/** Who may act for the workloads of a template. `actors` may be empty: then only `may_act` of the subject token names one. */
export interface DelegationRule {
  readonly actor: 'none' | 'optional' | 'required';
  readonly actors: readonly SubjectMatch[];
}

export type Opener =
  | { readonly kind: 'self' }
  | { readonly kind: 'role'; readonly role: Role }
  | { readonly kind: 'subject'; readonly subject: SubjectMatch };

export interface ParamSpec {
  /** `workload.claims.X`: the caller cannot choose it. */
  readonly fromClaim: string | null;
  /** Whole value, already bounded in length and characters. */
  accepts(value: string): boolean;
}

export interface GrantSpec {
  readonly name: string;
  readonly tool: string;
  /** With variables `${params.x}`, `${workload.claims.x}`, `${task.id}` still in it. */
  readonly resource: string;
  readonly provider: string;
  /** Row of the access table, for example `s3.object`; `token` for tool tokens. */
  readonly access: string;
  /** The checked `mint:` block, plain JSON. */
  readonly mint: Readonly<Record<string, unknown>>;
  readonly actions: readonly Action[];
  readonly effects: readonly Effect[];
  readonly data: readonly string[];
  readonly ttl: { readonly defaultSeconds: number; readonly maxSeconds: number };
  readonly endsWithinSeconds: number | null;
  readonly budget: { readonly exchanges: number | null; readonly perMinute: number | null };
  /** What the caller must prove to hold beside its tokens. */
  readonly proof: Proof;
}

export type Proof = 'none' | 'dpop' | 'mtls';

export type IssuerType = 'oidc' | 'kubernetes' | 'spiffe' | 'github' | 'gitlab';

/** What a type of issuer does not have is null. Files are paths on the broker's own disk. */
export interface TrustedIssuer {
  readonly name: string;
  readonly type: IssuerType;
  /** Exact `iss`; of type spiffe the trust domain, `spiffe://NAME`. */
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUri: string | null;
  readonly jwksFile: string | null;
  /** Of a SPIFFE trust domain; without either its keys come from the Workload API. */
  readonly bundleUrl: string | null;
  readonly bundleFile: string | null;
  /** PEM: the one authority that the issuer's certificate is judged by. */
  readonly caFile: string | null;
  /** Bearer token for an issuer whose keys are not public. */
  readonly tokenFile: string | null;
  readonly tokenReview: TokenReview | null;
  /** Whether jobs of pull or merge requests are believed: their code may be a stranger's. */
  readonly pullRequests: 'refuse' | 'accept';
  readonly algorithms: readonly string[];
  readonly subjects: readonly Pattern[];
  /** Those of the type and those that the document adds. */
  readonly claims: readonly string[];
  readonly maxLifetimeSeconds: number;
  readonly replay: 'once' | 'reuse';
  readonly people: boolean;
  /** Who may tell what became of its subjects. */
  readonly events: EventTransmitter | null;
}

/** A transmitter of security events (SSF 1.0, RFC 8935). */
export interface EventTransmitter {
  /** Exact `iss` of its events. */
  readonly transmitter: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
  readonly jwksUri: string | null;
  readonly jwksFile: string | null;
  readonly caFile: string | null;
  readonly endsPerMinute: number;
}

/** The API server that is asked whether a Kubernetes token is still good. */
export interface TokenReview {
  readonly server: string;
  readonly caFile: string | null;
  readonly tokenFile: string;
}

export interface Provider {
  readonly name: string;
  readonly type: string;
  /** The checked spec, defaults filled in, plain JSON; its minter parses it further. */
  readonly spec: Readonly<Record<string, unknown>>;
}

export interface ResourceServer {
  readonly name: string;
  readonly audience: string;
  readonly verification: 'introspect' | 'offline';
  /** Of its tool tokens. */
  readonly signingAlgorithm: 'ES256' | 'RS256';
  readonly cacheSeconds: number;
  readonly subjects: readonly SubjectMatch[];
}

export interface RoleBinding {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly subjects: readonly SubjectMatch[];
  /** Outside it the role does not exist; null means everywhere. */
  readonly scope: {
    readonly templates: readonly Pattern[] | null;
    readonly providers: readonly Pattern[] | null;
  };
}

/** `name` is empty for `all`. */
export interface FreezeScope {
  readonly scope: 'all' | 'template' | 'provider' | 'issuer';
  readonly name: string;
}

export interface Freeze extends FreezeScope {
  readonly reason: string;
}

/** Does a freeze lie on any of these? */
export function isFrozen(
  { freezes }: Pick<PolicySet, 'freezes'>,
  named: Readonly<Record<'templates' | 'issuers' | 'providers', readonly string[]>>,
): boolean {
  return freezes.some(({ scope, name }) => {
    switch (scope) {
      case 'all':
        return true;
      case 'template':
        return named.templates.includes(name);
      case 'issuer':
        return named.issuers.includes(name);
      case 'provider':
        return named.providers.includes(name);
      default:
        return scope satisfies never;
    }
  });
}

/** Everything that decides, as of one `config_epoch`. Never changed in place: a new epoch is a new set. */
export interface PolicySet {
  readonly epoch: number;
  /** The database was found to be an older state than was known: nothing is issued from what it says. */
  readonly recoveryRequired?: boolean;
  /** Some assertions do not count any more: it is to be asked which. */
  readonly hasCuts?: boolean;
  /** Where nothing is issued. */
  readonly freezes: readonly Freeze[];
  /** By exact `iss`. */
  readonly issuers: ReadonlyMap<string, TrustedIssuer>;
  readonly templates: ReadonlyMap<string, Template>;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly servers: ReadonlyMap<string, ResourceServer>;
  readonly bindings: readonly RoleBinding[];
}
