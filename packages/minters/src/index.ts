export type { AwsMinter, AwsMinterOptions } from './aws/minter.ts';
export type { FederationSigner } from './aws/session.ts';
export { checkBase, checkPlan } from './check.ts';
export { loadAwsMinter } from './registry.ts';
export { createTokenMinter } from './token/minter.ts';
