export { applyBundle, readFolder } from './bundle.ts';
export { createClockWatch } from './clock-watch.ts';
export { type Config, ConfigError, completeConfig, loadConfig, schema as configSchema } from './config.ts';
export { federationDocument } from './http/metadata.ts';
export { openApi } from './http/openapi.ts';
export type { Route } from './http/route.ts';
export { routes } from './http/routes.ts';
export { inspectProviders } from './inspect-providers.ts';
export { isKekOpenToAll, readInstallationKek } from './keys/key-encryption-key.ts';
export {
  algorithmsOf,
  Keyring,
  makeSigningKey,
  publishLeadMs,
  type SigningPurpose,
  signingPurposes,
} from './keys/keyring.ts';
export { keyEvent, loadKeys } from './keys/load.ts';
export { keyState, nextRotations } from './keys/rotation.ts';
export { createLog, type Log } from './log.ts';
export { pass as reaperPass, watchDenials } from './reaper.ts';
export { type RecoverySurvey, recoverDatabase, surveyRecovery } from './recover.ts';
export { settings } from './settings.ts';
export { type Running, refuseUnmigrated, type StartOptions, startBroker } from './start.ts';
export { type Wired, wire } from './wire.ts';
