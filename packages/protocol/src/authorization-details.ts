import { z } from 'zod';
import { parseId } from './ids.ts';
import { isStorableText, JsonError, parseJsonStrict } from './json-strict.ts';
import { actions, detailType } from './token-types.ts';

/** Text of bounded length that can be stored unchanged. */
export function boundedText(max: number) {
  return z.string().min(1).max(max).refine(isStorableText, { error: 'holds NUL or a lone surrogate' });
}

/** At most as many as a template could mean; names and values are checked against it later. */
const paramsMax = 64;

/** Parameters of a task. zod would drop a key `__proto__` in silence; an unknown key is refused, never ignored. */
export const taskParams = z.preprocess(
  (value, context) => {
    if (Object.hasOwn(Object(value), '__proto__') || Object.keys(Object(value)).length > paramsMax)
      context.addIssue({ code: 'custom', message: 'not a set of parameters' });
    return value;
  },
  z.record(z.string().min(1).max(64), z.union([boundedText(128), z.number().int()])),
);

export const taskDescriptor = z.strictObject({
  template: boundedText(128),
  /** Required, unless the template makes it of claims. */
  ref: boundedText(128).optional(),
  params: taskParams.optional(),
  objective: boundedText(500).optional(),
});
export type TaskDescriptor = z.infer<typeof taskDescriptor>;

/** One `mayfly_tool_call` (RFC 9396 section 2; contract.md section 5). `task` is an id in canonical UUID form. */
export const toolCallDetail = z.strictObject({
  type: z.literal(detailType),
  task: z
    .union([
      z.string().transform((text, context) => {
        const id = parseId('tsk', text);
        if (id === undefined) context.addIssue({ code: 'custom', message: 'not a task id' });
        return id ?? z.NEVER;
      }),
      taskDescriptor,
    ])
    .optional(),
  tool: boundedText(128),
  identifier: boundedText(2048),
  actions: z.array(z.enum(actions)).min(1).max(actions.length).optional(),
  ttl: z.number().int().min(1).max(86_400).optional(),
  purpose: boundedText(500).optional(),
  args_digest: z
    .string()
    .regex(/^[A-Za-z0-9_-]{43}$|^[0-9a-f]{64}$/)
    .optional(),
});
export type ToolCallDetail = z.infer<typeof toolCallDetail>;

/** JSON Schema 2020-12 of what `authorization_details` may hold, one element of it; for editors and other programs. */
export function toolCallSchema($id: string): Readonly<Record<string, unknown>> {
  const { $schema, ...rest } = z.toJSONSchema(toolCallDetail, { io: 'input', unrepresentable: 'any' });
  return { $schema, $id, title: detailType, ...rest };
}

/** The one detail of a request, or the path and reason why it is malformed (never a value of it). */
export function parseAuthorizationDetails(
  text: string,
): { ok: true; detail: ToolCallDetail } | { ok: false; problem: string } {
  let value: unknown;
  try {
    value = parseJsonStrict(text);
  } catch (error) {
    if (error instanceof JsonError) return { ok: false, problem: error.message };
    throw error;
  }
  const parsed = z.tuple([toolCallDetail]).safeParse(value);
  if (parsed.success) return { ok: true, detail: parsed.data[0] };
  const issue = parsed.error.issues[0];
  // zod's messages quote unknown keys, and the path holds names of parameters: both are the caller's text.
  const words = issue?.code === 'unrecognized_keys' ? 'unknown field' : (issue?.code ?? 'invalid');
  const place = issue?.path.map(String) ?? [];
  const named = place.indexOf('params') + 1;
  return { ok: false, problem: `${(named > 0 ? place.slice(0, named) : place).join('.')}: ${words}` };
}
