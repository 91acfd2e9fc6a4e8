export { checkBase, checkPlan } from './check.ts';
export { minterLoaders } from './registry.ts';
export type { FederationSigner, MinterServices, OperatorFiles } from './services.ts';
export { createTokenMinter } from './token/minter.ts';
