export {
  type AddressClass,
  classifyAddress,
  type Resolve,
  type Resolved,
  resolveHost,
} from './oidc/address.ts';
export { createOidcAttestor, issuerOf, type OidcAttestorOptions } from './oidc/attestor.ts';
export {
  type FetchLimits,
  type IssuerAnswer,
  type IssuerRequest,
  requestIssuer,
} from './oidc/fetch-json.ts';
