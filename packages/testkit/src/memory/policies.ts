import type { FreezeScope, Policies, PolicySet, Template } from '@mayfly/core';
import type { MemoryRows } from './rows.ts';

type Documents = Omit<PolicySet, 'epoch' | 'freezes'>;

/** The documents in force and every version there was; a write raises the epoch in the same step. */
export class MemoryDocuments {
  readonly #rows: MemoryRows;
  readonly #versions = new Map<string, Template>();
  #documents: Documents;

  constructor(rows: MemoryRows, documents: Documents) {
    this.#rows = rows;
    this.#documents = documents;
    for (const template of documents.templates.values()) this.#remember(template);
  }

  get set(): PolicySet {
    const { epoch, freezes } = this.#rows;
    return { ...this.#documents, epoch, freezes };
  }

  get epoch(): number {
    return this.#rows.epoch;
  }

  publish(change: Partial<Documents>): void {
    this.#documents = { ...this.#documents, ...change };
    this.#rows.epoch += 1;
  }

  /** A new version of a template that is there, or the first of a new one. */
  apply(template: Template): Template {
    const versions = [...this.#versions.values()].filter(({ name }) => name === template.name);
    const next = { ...template, version: Math.max(0, ...versions.map(({ version }) => version)) + 1 };
    this.#remember(next);
    this.publish({ templates: new Map([...this.#documents.templates, [next.name, next]]) });
    return next;
  }

  remove(name: string): void {
    this.publish({ templates: new Map([...this.#documents.templates].filter(([key]) => key !== name)) });
  }

  /** A reason freezes, null thaws. */
  freeze(reason: string | null, on: FreezeScope = { scope: 'all', name: '' }): void {
    const { freezes } = this.#rows;
    const others = freezes.filter(({ scope, name }) => scope !== on.scope || name !== on.name);
    this.#rows.freezes = reason === null ? others : [...others, { ...on, reason }];
    this.#rows.epoch += 1;
  }

  version(name: string, version: number): Template | undefined {
    return this.#versions.get(`${name}@${version}`);
  }

  #remember(template: Template): void {
    this.#versions.set(`${template.name}@${template.version}`, template);
  }
}

/** What one replica has loaded: `current` is as old as its last `refresh`. */
export function createMemoryPolicies(documents: MemoryDocuments): Policies {
  let loaded: PolicySet | undefined;
  const refresh = () => {
    if (loaded?.epoch !== documents.epoch) loaded = documents.set;
    return loaded;
  };
  return {
    current: async () => loaded ?? refresh(),
    refresh: async () => refresh(),
    version: async (name, version) => documents.version(name, version),
  };
}
