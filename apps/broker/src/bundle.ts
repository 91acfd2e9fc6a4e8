import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { diffDocuments } from '@mayfly/policy';
import { bundleSet } from '@mayfly/store';
import { ConfigError } from './config.ts';
import { applyPlan, checkDocuments, lintDocuments } from './http/documents.ts';
import { DocumentsRefused } from './http/errors.ts';
import type { Wired } from './wire.ts';

const roundsMax = 4;

/** Reads *.yaml and *.yml of a folder, in order of name. Throws ConfigError where it cannot be read. */
export function readFolder(folder: string): readonly { file: string; text: string }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (cause) {
    const code = cause instanceof Error ? Reflect.get(cause, 'code') : undefined;
    throw new ConfigError([`bundle: ${folder} is not a folder that can be read (${String(code)})`]);
  }
  return names
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .map((name) => ({ file: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }));
}

/** Applies the bundle as set `bundle`, pruned. One bad document stops the start with every error (exit 2). */
export async function applyBundle(
  broker: Wired,
  sources: readonly { file: string; text: string }[],
): Promise<number> {
  const documents = orConfigError(() => checkDocuments(sources, broker));
  for (let round = 0; round < roundsMax; round += 1) {
    const active = await broker.store.documents.load();
    const changes = diffDocuments(active.documents, documents, { set: bundleSet, prune: true });
    orConfigError(() => lintDocuments(documents, { active: active.documents, changes }));
    const plan = { set: bundleSet, takeOver: true, epoch: active.epoch, changes, documents, actor: 'mayfly' };
    const applied = await applyPlan(broker, plan);
    if (applied !== 'stale') return applied;
  }
  throw new ConfigError(['bundle: the documents kept changing while it was applied']);
}

function orConfigError<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof DocumentsRefused ? new ConfigError(error.errors) : error;
  }
}
