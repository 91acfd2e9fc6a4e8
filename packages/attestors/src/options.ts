import type { TokenLimits } from './jwt/compact.ts';
import type { FetchLimits } from './jwt/fetch-json.ts';
import type { KeyLimits } from './jwt/key-set.ts';

/** What the broker's configuration says of every attestor. */
export interface AttestorOptions {
  /** How far the clock of an issuer may differ. */
  readonly skewSeconds: number;
  readonly fetch: FetchLimits;
  readonly keys: KeyLimits;
  readonly token: TokenLimits;
  /**
   * Which token file may be shown to which origin. Documents come over the API, files are the operator's: without
   * this list a document could send any file of the broker's disk to any host.
   */
  readonly tokenFiles: readonly { readonly origin: string; readonly file: string }[];
  /** Address of the SPIFFE Workload API (`SPIFFE_ENDPOINT_SOCKET`). */
  readonly workloadApi: string | null;
  readFile(path: string): Promise<string>;
}
