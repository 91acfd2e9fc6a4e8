import { Fault, type Inspection } from '@mayfly/core';

/** What went wrong, in our words: never the provider's own text. */
export function saidBy(error: unknown): string {
  return error instanceof Fault ? (error.detail ?? error.reason) : 'failed';
}

/** `iss` of our own assertion, as a provider must know it. Ours, so nothing is verified. */
export function issuerOf(assertion: string): string {
  const claims: unknown = JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString());
  return String(Reflect.get(Object(claims), 'iss'));
}

/** Something that must be refused, and is not. */
export function tooMuch(subject: string, says: string): Inspection {
  return { subject, ok: false, says: `too much: ${says}` };
}
