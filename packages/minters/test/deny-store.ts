import type {
  AuditEvent,
  DenyAt,
  DenyDue,
  DenyEntry,
  DenyStore,
  DenyUnproven,
  DenyUntold,
  DenyWidened,
  DenyWrite,
} from '@mayfly/core';

interface Entry {
  readonly taskId: string;
  until: number;
  acknowledgedAt?: Date;
  effective?: true;
}

interface Document extends DenyAt {
  readonly entries: Map<string, Entry>;
  version: number;
  acknowledged: number;
  widened: DenyWidened | null;
  told: boolean;
  writerUntil: number;
  readAt: number;
}

/** Entries stay this much longer than they are needed: clocks and caches of the cloud. */
const graceMs = 300_000;

/** For tests only: the DenyStore in memory, with the lease and the fence of the real one. */
export class MemoryDenyStore implements DenyStore {
  readonly audits: AuditEvent[] = [];
  readonly #documents = new Map<string, Document>();
  readonly #now: () => Date;
  #onRequest: () => void = () => undefined;

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** Resolves with the next document that is given out. */
  nextRequest(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRequest = resolve;
    });
  }

  /** The version of the one document of this role. */
  acknowledged(role: string): number {
    return [...this.#documents.values()].find((one) => one.role === role)?.acknowledged ?? 0;
  }

  async request(at: DenyAt, add: readonly DenyEntry[], leaseSeconds: number): Promise<DenyWrite | null> {
    const now = this.#now().getTime();
    const never = { version: 0, acknowledged: 0, writerUntil: 0, readAt: 0 };
    const fresh = { ...never, entries: new Map(), widened: null, told: true };
    const document = this.#documents.get(keyOf(at)) ?? { ...at, ...fresh };
    this.#documents.set(keyOf(at), document);
    if (document.writerUntil > now) return null;
    for (const { sourceIdentity, taskId, neededUntil } of add) {
      const entry = document.entries.get(sourceIdentity) ?? { taskId, until: 0 };
      entry.until = Math.max(entry.until, neededUntil.getTime());
      document.entries.set(sourceIdentity, entry);
    }
    for (const [name, { until }] of document.entries)
      if (until < now - graceMs) document.entries.delete(name);
    document.version += 1;
    document.writerUntil = now + leaseSeconds * 1000;
    this.#onRequest();
    return { version: document.version, entries: [...document.entries.keys()].sort() };
  }

  async acknowledge(at: DenyAt, version: number, widened: DenyWidened | null = null): Promise<boolean> {
    const document = this.#documents.get(keyOf(at));
    if (document?.version !== version) return false;
    const same = JSON.stringify(widened) === JSON.stringify(document.widened);
    document.told = widened === null || (same && document.told);
    document.widened = widened;
    document.acknowledged = version;
    document.readAt = this.#now().getTime();
    document.writerUntil = 0;
    for (const entry of document.entries.values()) entry.acknowledgedAt ??= this.#now();
    return true;
  }

  async release(at: DenyAt, version: number): Promise<void> {
    const document = this.#documents.get(keyOf(at));
    if (document?.version === version) document.writerUntil = 0;
  }

  async due(olderThanSeconds: number): Promise<readonly DenyDue[]> {
    const now = this.#now().getTime();
    return [...this.#documents.values()]
      .filter((one) => one.entries.size > 0 && one.writerUntil <= now)
      .filter((one) => one.readAt < now - olderThanSeconds * 1000)
      .map(({ provider, role, version, acknowledged, entries, widened }) => ({
        widened,
        provider,
        role,
        version,
        entries: [...entries.keys()].sort(),
        shrinks: [...entries.values()].some(({ until }) => until < now - graceMs),
        acknowledged: acknowledged === version,
      }));
  }

  async observed(
    at: DenyAt,
    { intact, audit }: { intact: boolean; audit: AuditEvent | null },
  ): Promise<void> {
    const document = this.#documents.get(keyOf(at));
    if (document === undefined) return;
    document.readAt = this.#now().getTime();
    if (!intact) {
      document.acknowledged = 0;
      for (const entry of document.entries.values()) {
        delete entry.acknowledgedAt;
        delete entry.effective;
      }
    }
    if (audit !== null) this.audits.push(audit);
  }

  /** Nobody counts here: what others hold is known to the real stores. */
  async untold(): Promise<readonly DenyUntold[]> {
    return [...this.#documents.values()].flatMap(
      ({ provider, role, version, acknowledged, entries, widened, told }) =>
        widened === null || told || acknowledged !== version
          ? []
          : [{ provider, role, version, entries: entries.size, widened, innocents: 7 }],
    );
  }

  async told(at: DenyAt, version: number, audit: AuditEvent): Promise<void> {
    const document = this.#documents.get(keyOf(at));
    if (document === undefined || document.version !== version || document.told) return;
    document.told = true;
    this.audits.push(audit);
  }

  async unproven(sourceIdentities: readonly string[], limit: number): Promise<readonly DenyUnproven[]> {
    return [...this.#documents.values()]
      .flatMap(({ provider, role, entries }) =>
        [...entries].flatMap(([sourceIdentity, { taskId, acknowledgedAt, effective }]) =>
          acknowledgedAt === undefined || effective || !sourceIdentities.includes(sourceIdentity)
            ? []
            : [{ provider, role, sourceIdentity, taskId, acknowledgedAt }],
        ),
      )
      .slice(0, limit);
  }

  async proven({ sourceIdentity, ...at }: DenyUnproven, audit: AuditEvent): Promise<boolean> {
    const entry = this.#documents.get(keyOf(at))?.entries.get(sourceIdentity);
    if (entry?.acknowledgedAt === undefined || entry.effective) return false;
    entry.effective = true;
    this.audits.push(audit);
    return true;
  }
}

function keyOf({ provider, role }: DenyAt): string {
  return `${provider}\n${role}`;
}
