import type { Minter, PolicySet } from '@mayfly/core';
import { createTokenMinter, type MinterServices, minterLoaders } from '@mayfly/minters';
import type { Config } from './config.ts';
import type { Tokens } from './tokens.ts';
import type { Decorate } from './wire.ts';

/** The minters in use: tool tokens always, a cloud's once a Provider of its type is in force, since its SDK is heavy. */
export interface MinterSet {
  readonly all: ReadonlyMap<string, Minter>;
  load(providers: PolicySet['providers']): Promise<void>;
}

export interface MinterSetOptions extends Omit<MinterServices, 'federation'> {
  readonly config: Config;
  readonly tokens: Tokens;
  readonly decorate: Decorate;
}

export function createMinterSet(options: MinterSetOptions): MinterSet {
  const { config, tokens, decorate, ...rest } = options;
  const services: MinterServices = { ...rest, federation: { sign: tokens.signFederation } };
  const token = createTokenMinter({ issuer: config.issuer, sign: tokens.sign });
  const all = new Map<string, Minter>([['token', decorate('minter.token', token)]]);
  return {
    all,
    load: async (providers) => {
      for (const type of new Set([...providers.values()].map((provider) => provider.type))) {
        const load = Object.hasOwn(minterLoaders, type) ? minterLoaders[type] : undefined;
        if (load !== undefined && !all.has(type))
          all.set(type, decorate(`minter.${type}`, await load(services)));
      }
    },
  };
}
