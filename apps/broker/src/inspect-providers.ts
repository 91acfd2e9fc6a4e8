import type { Inspection } from '@mayfly/core';
import { compileDocuments, reopenDocument } from '@mayfly/policy';
import type { Store } from '@mayfly/store';
import type { Config } from './config.ts';
import { createIds } from './ids.ts';
import type { Keyring } from './keys/keyring.ts';
import { createMinterSet } from './minter-set.ts';
import { createOperatorFiles } from './operator-files.ts';
import { createTokens } from './tokens.ts';

/** A few calls per role, each with a deadline of its own. */
const inspectMs = 30_000;

export interface ProviderInspection extends Inspection {
  readonly provider: string;
}

/** Every Provider in force, looked at where it is, one after the other; for `mayfly doctor`. */
export async function inspectProviders(installation: {
  readonly config: Config;
  readonly store: Store;
  readonly ring: Keyring;
  /** Where `{env: NAME}` references are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
}): Promise<readonly ProviderInspection[]> {
  const { config, store, ring, env } = installation;
  const { issuer, federationIssuer } = config;
  const now = () => new Date();
  const { documents } = await store.documents.load();
  const opened = documents.map(({ version, body }) => ({ version, document: reopenDocument(body) }));
  const { providers } = compileDocuments(opened, { brokerIssuer: issuer });
  const tokens = createTokens({ issuer, federationIssuer, keyring: () => ring, now, newId: createIds(now) });
  const minters = createMinterSet({
    config,
    tokens,
    decorate: (_, port) => port,
    deny: store.deny,
    files: createOperatorFiles(config, env),
    provider: (name) => providers.get(name),
    now,
    report: () => undefined, // It looks, and nothing is reported but what it returns.
  });
  await minters.load(providers);
  const found: ProviderInspection[] = [];
  for (const provider of providers.values()) {
    const context = { now: now(), signal: AbortSignal.timeout(inspectMs) };
    const seen = (await minters.all.get(provider.type)?.inspect?.(provider, context)) ?? [];
    found.push(...seen.map((one) => ({ provider: provider.name, ...one })));
  }
  return found;
}
