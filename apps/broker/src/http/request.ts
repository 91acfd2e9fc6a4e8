import type { IncomingHttpHeaders } from 'node:http';

/** A request after limits and body: what handlers see of HTTP. */
export interface RawRequest {
  /** Correlates log, audit and answer. */
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}
