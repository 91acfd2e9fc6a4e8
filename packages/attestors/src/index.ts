export { createAttestor } from './create-attestor.ts';
export { createTransmitter, type Transmitter, transmitterOf } from './events/transmitter.ts';
export {
  type AddressClass,
  classifyAddress,
  type Resolve,
  type Resolved,
  resolveHost,
} from './jwt/address.ts';
export {
  type FetchLimits,
  type IssuerAnswer,
  type IssuerRequest,
  requestIssuer,
} from './jwt/fetch-json.ts';
export type { AttestorOptions } from './options.ts';
export { issuerOf } from './route.ts';
