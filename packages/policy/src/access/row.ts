import type { Action } from '@mayfly/protocol';
import type { ProviderType } from '../documents/provider/provider.ts';

/** One row of the published table (`mayfly access`): what an `access` opens, and who holds it to that. */
export interface AccessRow {
  readonly access: string;
  readonly provider: ProviderType | 'token';
  /** Form of the identifier, for people. */
  readonly resource: string;
  /** Regular expression of what stands before the head. */
  readonly start: string;
  /** What stands up to the next `/`, which the template's author must write out: who chooses it chooses whose data it is. */
  readonly head: { readonly what: string; readonly form: string };
  /** What follows the head: nothing, a key of any text, a name that goes on or ends, or a path of a URI. */
  readonly tail: 'none' | 'key' | 'name' | 'path';
  /** What a key starts with, where the provider's own ARNs have no place for it. */
  readonly keyStart?: string;
  /** Regular expression of what no key holds that is ever opened, beside what no provider's key may hold. */
  readonly keyRefused?: string;
  /** `one`: exactly one thing; `prefix`: everything under one prefix ending in `/`. */
  readonly size: 'one' | 'prefix';
  /** Native permissions of each verb that the access knows. */
  readonly permissions: Readonly<Partial<Record<Action, readonly string[]>>>;
  /** Condition keys that narrow a verb's permissions beyond the resource, with the value they are held to. */
  readonly conditions: Readonly<Partial<Record<Action, Readonly<Record<string, string>>>>>;
  /** What a verb tells its holder of what is there, although `read` is not granted; the lint warns of it. */
  readonly tells?: Readonly<Partial<Record<Action, string>>>;
  /** Permissions on the customer's key that `mint.kmsKey` names; absent where none is taken. */
  readonly keyPermissions?: Readonly<Partial<Record<Action, readonly string[]>>>;
  /** What a credential is, and what narrows it. */
  readonly mechanism: string;
  /**
   * `nobody`: the credential opens more than the resource, and only a template that accepts that gets one.
   * `provider, as a whole`: the resource and no other, and within it everything.
   */
  readonly enforcedBy: 'provider' | 'provider, as a whole' | 'tool server' | 'nobody';
  /** Shortest and longest life of one credential. */
  readonly lifeSeconds: { readonly min: number; readonly max: number };
  readonly ends: string;
  /** Why a credential may live so long after the end of its task, as the lint of `endsWithin` says it. */
  readonly worst: string;
  /** Guaranteed delay of its end; left out: none is, and the longest life counts. */
  readonly endsWithinSeconds?: number;
}
