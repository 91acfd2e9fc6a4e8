import type { Minter } from '@mayfly/core';
import type { MinterServices } from './services.ts';

/** By type of Provider. An SDK is loaded only where a Provider of its type exists: they cost 40 MB and half a second. */
export const minterLoaders: Readonly<Record<string, (services: MinterServices) => Promise<Minter>>> = {
  aws: async (services) => (await import('./aws/minter.ts')).createAwsMinter(services),
  azure: async (services) => (await import('./azure/minter.ts')).createAzureMinter(services),
  kubernetes: async (services) => (await import('./kubernetes/minter.ts')).createKubernetesMinter(services),
  github: async (services) => (await import('./github/minter.ts')).createGithubMinter(services),
};
