/** An answer that Azure gives instead of what was asked: the status and its own name of the error. */
export class AzureError extends Error {
  override readonly name = 'AzureError';
  readonly status: number;
  readonly code: string;

  constructor(code: string, status: number) {
    super(code);
    this.code = code;
    this.status = status;
  }
}
