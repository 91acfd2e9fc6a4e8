import type { Action, Effect, Role } from '@mayfly/protocol';
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
  };
  readonly grants: readonly GrantSpec[];
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
}

export interface TrustedIssuer {
  readonly name: string;
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUri: string | null;
  readonly jwksFile: string | null;
  readonly algorithms: readonly string[];
  readonly subjects: readonly Pattern[];
  readonly claims: readonly string[];
  readonly maxLifetimeSeconds: number;
  readonly replay: 'once' | 'reuse';
  readonly people: boolean;
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

/** Everything that decides, as of one `config_epoch`. Never changed in place: a new epoch is a new set. */
export interface PolicySet {
  readonly epoch: number;
  readonly frozen: { readonly reason: string } | null;
  /** By exact `iss`. */
  readonly issuers: ReadonlyMap<string, TrustedIssuer>;
  readonly templates: ReadonlyMap<string, Template>;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly servers: ReadonlyMap<string, ResourceServer>;
  readonly bindings: readonly RoleBinding[];
}
