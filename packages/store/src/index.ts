export * from './documents.ts';
export { type Embedded, EmbeddedError, findEmbedded, startEmbedded } from './embedded.ts';
export { encodeAudit } from './encode.ts';
export type { HighWater, Recovery, RecoveryState } from './high-water.ts';
export type { DatabaseStatus } from './installation.ts';
export type { Keys, StoredKey } from './keys.ts';
export { MigrationError, type MigrationResult, migrate } from './migrate.ts';
export type {
  AuditFilters,
  AuditRow,
  IssuanceColumn,
  IssuanceFilters,
  IssuanceScope,
  Page,
  TaskFilters,
} from './queries.ts';
export type { SignedIn, SignInFound, SignInRow, SignInRows } from './sign-in.ts';
export { subkey } from './sign-in-seal.ts';
export { createStore, type Store } from './store.ts';
export type { QueueStatus } from './work-queue.ts';
