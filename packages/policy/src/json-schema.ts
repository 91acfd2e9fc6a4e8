import { detailType, toolCallSchema } from '@mayfly/protocol';
import { z } from 'zod';
import { kinds } from './documents/kinds.ts';

/**
 * schemas/*.json, for editors: one per kind, of what people write (defaults may be left out), and the descriptor of an
 * exchange. JSON Schema 2020-12.
 */
export function jsonSchemas(): readonly { readonly file: string; readonly text: string }[] {
  const documents = Object.entries(kinds).map(([kind, schema]) => {
    const file = `${kind.replaceAll(/(?<!^)[A-Z]/g, (letter) => `-${letter}`).toLowerCase()}.json`;
    const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
    return { file, body: { $schema, $id: file, title: kind, ...rest } };
  });
  const descriptor = `${detailType}.json`;
  return [...documents, { file: descriptor, body: toolCallSchema(descriptor) }].map(({ file, body }) => ({
    file,
    text: `${JSON.stringify(body, null, 2)}\n`,
  }));
}
