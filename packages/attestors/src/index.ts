export { createAttestor } from './create-attestor.ts';
export {
  type AddressClass,
  classifyAddress,
  type Resolve,
  type Resolved,
  resolveHost,
} from './jwt/address.ts';
export type { AttestorOptions } from './options.ts';
export { issuerOf } from './route.ts';
