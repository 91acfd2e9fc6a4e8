export * from './api.ts';
export * from './authorization-details.ts';
export * from './deviation.ts';
export * from './error-codes.ts';
export * from './ids.ts';
export * from './json-strict.ts';
export * from './token-types.ts';
