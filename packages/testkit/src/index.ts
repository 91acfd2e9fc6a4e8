export * from './clock.ts';
export * from './fake-cloud.ts';
export * from './memory/policies.ts';
export type * from './memory/rows.ts';
export * from './memory-store.ts';
export * from './minter.ts';
export * from './random.ts';
export * from './trace.ts';
export * from './world.ts';
