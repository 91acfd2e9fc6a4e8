/** An error as the wire carries it: HTTP status and Google's own word for it. */
export class GcpError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message = code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const denied = (permission: string, resource: string) =>
  new GcpError(403, 'PERMISSION_DENIED', `no ${permission} on ${resource}`);
