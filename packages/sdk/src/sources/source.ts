import { Unavailable } from '../errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** One place where an identity may be found. */
export interface Source {
  readonly name: string;
  readonly kind: 'jwt' | 'access_token';
  /** Why there is nothing here, or undefined. Asks no network. */
  absent(): Promise<string | undefined> | string | undefined;
  read(): Promise<string> | string;
}

export function sourceFailed(source: string, says: string, cause?: unknown): Unavailable {
  return new Unavailable({ reason: 'identity_unavailable', says: `${source}: ${says}.`, cause });
}

export function notSet(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? 'not set' : undefined;
}
