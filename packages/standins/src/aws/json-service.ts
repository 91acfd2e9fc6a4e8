import type { Caller } from './authorize.ts';
import { AwsError } from './errors.ts';

/** One call of a service that speaks JSON, whatever its transport. */
export interface JsonCall extends Caller {
  readonly input: Readonly<Record<string, unknown>>;
}

export type JsonOperation = (call: JsonCall) => Record<string, unknown>;

export interface JsonService {
  /** As signatures and condition keys name it. */
  readonly service: 'sqs' | 'dynamodb' | 'secretsmanager' | 'kms';
  readonly operations: Readonly<Record<string, JsonOperation>>;
}

export function text(call: JsonCall, name: string): string {
  const value = call.input[name];
  if (typeof value !== 'string' || value === '')
    throw new AwsError('ValidationException', 400, `${name} is required`);
  return value;
}

export function optionalText(call: JsonCall, name: string): string | undefined {
  const value = call.input[name];
  return typeof value === 'string' ? value : undefined;
}

/** Condition keys that are there only when the request states them. */
export function stated(keys: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const present = Object.entries(keys).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as const],
  );
  return Object.fromEntries(present);
}
