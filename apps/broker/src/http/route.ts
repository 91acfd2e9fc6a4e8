import { Refusal } from '@mayfly/core';
import { JsonError, parseJsonStrict, type Role } from '@mayfly/protocol';
import type { z } from 'zod';
import type { Broker } from '../broker.ts';
import type { Principal } from './authenticate.ts';
import type { Reply } from './errors.ts';
import { mediaType, type RawRequest } from './request.ts';

/** Who may call: one of these roles, anyone attested, or somebody with a relation to the task that the handler checks. */
export type Access = readonly Role[] | 'attested' | 'task';

export interface Call {
  readonly broker: Broker;
  readonly request: RawRequest;
  readonly principal: Principal;
}

/** One row of the only table of /v1: registration, role check, OpenAPI and docs/roles.md all come from it. */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** Express form, `/v1/tasks/:id`. */
  readonly path: string;
  readonly access: Access;
  readonly says: string;
  readonly body?: z.ZodType;
  /** Media types other than JSON. */
  readonly consumes?: string;
  readonly query?: readonly string[];
  handle(call: Call): Promise<Reply>;
}

/** The body as this schema, or a Refusal that names the place and never a value. */
export function parseBody<T>(schema: z.ZodType<T>, { body, headers }: RawRequest): T {
  if (body.length > 0 && mediaType(headers) !== 'application/json')
    throw new Refusal('unsupported_media_type');
  let value: unknown;
  try {
    value = body.length === 0 ? {} : parseJsonStrict(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    const detail = cause instanceof JsonError ? cause.message : 'not UTF-8';
    throw new Refusal('malformed_request', { detail, cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Refusal('malformed_request', { detail: `${issue?.path.map(String).join('.')}: ${issue?.code}` });
}

/** A page size within limits; anything that is not a plain integer is refused. */
export function pageOf(query: URLSearchParams): { limit: number; cursor: string | null } {
  const text = query.get('limit') ?? '50';
  const limit = /^[0-9]{1,4}$/.test(text) ? Number.parseInt(text, 10) : 0;
  if (limit < 1 || limit > 1000) throw new Refusal('malformed_request', { detail: 'limit' });
  return { limit, cursor: query.get('cursor') };
}

export function ok(body: unknown, status = 200): Reply {
  return { status, body };
}
