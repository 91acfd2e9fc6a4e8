import {
  type AttestorOptions,
  createAttestor,
  createTransmitter,
  type Transmitter,
  transmitterOf,
} from '@mayfly/attestors';
import {
  type Attestor,
  Fault,
  type Policies,
  type PolicySet,
  Refusal,
  type Template,
  type TrustedIssuer,
} from '@mayfly/core';
import { compileDocuments, compileTemplate, reopenDocument } from '@mayfly/policy';
import type { Store } from '@mayfly/store';

/** Pinned versions remembered; they never change. */
const versionsMax = 2_000;

export interface PolicyCacheOptions {
  readonly store: Pick<Store, 'documents'>;
  readonly brokerIssuer: string;
  readonly attestors: AttestorOptions;
  /** Attestors, with their keys, kept in memory. */
  readonly attestorsMax: number;
  /** Before a set is used: keys are loaded with the epoch (a rotation raises it), and minters of new providers. */
  onLoad(set: PolicySet): Promise<void>;
}

/** What decides, as of the last epoch that this replica has seen. Replaced whole, never changed in place. */
export interface PolicyCache extends Policies {
  attestor(iss: string): Attestor | undefined;
  /** Who must answer for a security event, and of which TrustedIssuer; a Refusal `event_issuer_unknown` for nobody's. */
  transmitter(set: string): { readonly issuer: TrustedIssuer; readonly transmitter: Transmitter };
  /** The last set in use here, without I/O. */
  known(): PolicySet | undefined;
}

export function createPolicyCache(options: PolicyCacheOptions): PolicyCache {
  const { documents } = options.store;
  const versions = new Map<string, Template>();
  const attestors = new Map<string, { readonly spec: string; readonly attestor: Attestor }>();
  const transmitters = new Map<string, { readonly spec: string; readonly transmitter: Transmitter }>();
  let current: PolicySet | undefined;
  let recovered: number | undefined;
  let loading: Promise<PolicySet> | undefined;
  const load = () => {
    loading ??= loadSet(options)
      .then(async ({ set: loaded, recovered: at }) => {
        // After a recovery a version number may mean another document.
        if (recovered !== at) versions.clear();
        recovered = at;
        await options.onLoad(loaded);
        // A set that was read earlier must not replace a newer one.
        if (current === undefined || loaded.epoch >= current.epoch) current = loaded;
        for (const iss of attestors.keys()) if (!current.issuers.has(iss)) attestors.delete(iss);
        return current;
      })
      .finally(() => {
        loading = undefined;
      });
    return loading;
  };
  return {
    known: () => current,
    current: async () => current ?? load(),
    refresh: async () => {
      const { epoch, isOlder, hasCuts } = await documents.readEpoch();
      const atLeast = async () => {
        if (current !== undefined && current.epoch >= epoch) return current;
        const loaded = await load();
        return loaded.epoch >= epoch ? loaded : load();
      };
      const set = await atLeast();
      // Never kept: the next look may find it otherwise.
      return isOlder || hasCuts ? { ...set, recoveryRequired: isOlder, hasCuts } : set;
    },
    version: async (name, version) => {
      const key = `${name}@${version}`;
      const known = versions.get(key);
      if (known !== undefined) return known;
      const stored = await documents.version('GrantTemplate', name, version);
      const document = stored === undefined ? undefined : reopenDocument(stored.body);
      if (document?.kind !== 'GrantTemplate') return undefined;
      const template = compileTemplate(document, version);
      makeRoom(versions, versionsMax);
      versions.set(key, template);
      return template;
    },
    attestor: (iss) => {
      const issuer = current?.issuers.get(iss);
      if (issuer === undefined) return undefined;
      const made = attestors.get(iss);
      // The same document keeps its keys over an epoch: a new one would fetch them again at every apply.
      const spec = specOf(issuer);
      if (made?.spec === spec) return made.attestor;
      const attestor = named(issuer.name, createAttestor(issuer, options.attestors));
      makeRoom(attestors, options.attestorsMax);
      attestors.set(iss, { spec, attestor });
      return attestor;
    },
    transmitter: (set) => {
      const iss = transmitterOf(set, options.attestors.token);
      const named = [...(current?.issuers.values() ?? [])].filter((one) => one.events?.transmitter === iss);
      const [issuer] = named;
      // Lint refuses two of one transmitter; should two be in force all the same, neither decides unseen.
      if (iss === undefined || issuer === undefined || named.length > 1)
        throw new Refusal('event_issuer_unknown');
      const made = transmitters.get(iss);
      const spec = specOf(issuer);
      if (made?.spec === spec) return { issuer, transmitter: made.transmitter };
      const transmitter = createTransmitter(issuer, options.attestors);
      makeRoom(transmitters, options.attestorsMax);
      transmitters.set(iss, { spec, transmitter });
      return { issuer, transmitter };
    },
  };
}

/** A failure says whose it is: the log of a broker with many issuers is of no use without. */
function named(name: string, { issuer, attest }: Attestor): Attestor {
  return {
    issuer,
    attest: (assertion, context) =>
      attest(assertion, context).catch((error: unknown) => {
        if (!(error instanceof Fault)) throw error;
        const { reason, effect, detail = '' } = error;
        throw new Fault(reason, { effect, detail: `TrustedIssuer ${name}: ${detail}`, cause: error.cause });
      }),
  };
}

/** The entry made first goes: whoever needs it makes it again. */
function makeRoom(cache: Map<string, unknown>, sizeMax: number): void {
  const [oldest] = cache.keys();
  if (cache.size >= sizeMax && oldest !== undefined) cache.delete(oldest);
}

function specOf({ subjects, ...issuer }: TrustedIssuer): string {
  return JSON.stringify([issuer, subjects.map(({ text }) => text)]);
}

async function loadSet({
  store,
  brokerIssuer,
}: PolicyCacheOptions): Promise<{ set: PolicySet; recovered: number }> {
  const { epoch, recovered, freezes, documents } = await store.documents.load();
  const opened = documents.map(({ version, body }) => ({ version, document: reopenDocument(body) }));
  return { set: { epoch, freezes, ...compileDocuments(opened, { brokerIssuer }) }, recovered };
}
