/** An error as the wire carries it: code and status of the real service. */
export class AwsError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, status: number, message = code) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export const denied = (action: string, resource: string) =>
  new AwsError('AccessDenied', 403, `not authorized to perform: ${action} on resource: ${resource}`);

export function escapeXml(text: string): string {
  return text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
