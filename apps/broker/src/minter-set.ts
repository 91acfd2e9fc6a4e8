import type { Minter, PolicySet, Provider } from '@mayfly/core';
import { type AwsMinter, type AwsMinterOptions, createTokenMinter, loadAwsMinter } from '@mayfly/minters';
import type { Config } from './config.ts';
import type { Tokens } from './tokens.ts';
import type { Decorate } from './wire.ts';

/** The minters in use: tool tokens always, a cloud's once a Provider of its type is in force, since its SDK is heavy. */
export interface MinterSet {
  readonly all: ReadonlyMap<string, Minter>;
  aws(): AwsMinter | undefined;
  load(providers: PolicySet['providers']): Promise<void>;
}

export interface MinterSetOptions extends Pick<AwsMinterOptions, 'deny' | 'now' | 'report'> {
  readonly config: Config;
  readonly tokens: Tokens;
  readonly decorate: Decorate;
  provider(name: string): Provider | undefined;
}

export function createMinterSet(options: MinterSetOptions): MinterSet {
  const { config, tokens, decorate, ...aws } = options;
  const token = createTokenMinter({ issuer: config.issuer, sign: tokens.sign });
  const all = new Map<string, Minter>([['token', decorate('minter.token', token)]]);
  let cloud: AwsMinter | undefined;
  return {
    all,
    aws: () => cloud,
    load: async (providers) => {
      if (cloud !== undefined || ![...providers.values()].some(({ type }) => type === 'aws')) return;
      cloud = await loadAwsMinter({ ...aws, federation: { sign: tokens.signFederation } });
      all.set('aws', decorate('minter.aws', cloud));
    },
  };
}
