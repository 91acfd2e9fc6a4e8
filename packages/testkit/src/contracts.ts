/** Suites of claims; apart from index.ts because they can be loaded only by a test runner. */
export * from './attestor-contract.ts';
export * from './minter-contract.ts';
export * from './store-contract.ts';
