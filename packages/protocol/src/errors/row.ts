/**
 * `oauth` is the error code at the OAuth endpoints (RFC 6749 5.2, 8693 2.2.2, 9396 5), `status` the HTTP status there;
 * `apiStatus` the status under /v1 where it differs. `says` is public and constant: no input, no policy text.
 */
export interface ErrorRow {
  readonly oauth: string;
  readonly status: number;
  readonly apiStatus?: number;
  readonly says: string;
  readonly todo: string;
}
