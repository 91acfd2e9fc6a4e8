import { expect, test } from '@jest/globals';
import { formatError, parseDocuments } from './index.ts';

const server = (name: string, more = '') =>
  `apiVersion: mayfly/v1\nkind: ResourceServer\nmetadata: { name: ${name} }\nspec: { audience: "https://${name}.example/mcp"${more} }\n`;

const errorsOf = (text: string, file = 'a.yaml') => parseDocuments([{ file, text }]).errors.map(formatError);

test('reads several documents of one file and fills in defaults', () => {
  const { documents, errors } = parseDocuments([
    { file: 'a.yaml', text: `${server('one')}---\n# nothing\n---\n${server('two')}` },
  ]);
  expect(errors).toEqual([]);
  expect(documents.map(({ name }) => name)).toEqual(['one', 'two']);
  expect(documents[0]?.document.spec).toEqual({
    audience: 'https://one.example/mcp',
    verification: 'introspect',
    signingAlgorithm: 'ES256',
    cacheSeconds: 5,
    subjects: [],
  });
});

test('says where a value stands, whatever the line ends', () => {
  const { documents } = parseDocuments([{ file: 'a.yaml', text: server('one').replaceAll('\n', '\r\n') }]);
  expect(documents[0]?.positionOf(['metadata', 'name'])).toEqual({ file: 'a.yaml', line: 3, column: 19 });
});

test('answers the place of the nearest parent for a value that is not there', () => {
  const { documents } = parseDocuments([{ file: 'a.yaml', text: server('one') }]);
  expect(documents[0]?.positionOf(['spec', 'subjects', 4, 'issuer'])).toEqual({
    file: 'a.yaml',
    line: 4,
    column: 7,
  });
});

test('gives the errors of all files at once, by file and place, and keeps the sound documents', () => {
  const { documents, errors } = parseDocuments([
    { file: 'b.yaml', text: `${server('two', ', cache: 1')}---\n${server('three')}` },
    { file: 'a.yaml', text: server('One') },
  ]);
  expect(errors.map(formatError)).toEqual([
    'a.yaml:3:19: metadata.name: a-z, 0-9 and - only, not starting or ending with -',
    'b.yaml:4:46: spec.cache: unknown key',
  ]);
  expect(documents.map(({ name }) => name)).toEqual(['three']);
});

test('refuses one document declared in two files at the second place', () => {
  const sources = ['a.yaml', 'b.yaml'].map((file) => ({ file, text: server('one') }));
  expect(parseDocuments(sources).errors.map(formatError)).toEqual([
    'b.yaml:3:19: metadata.name: ResourceServer one is already declared at a.yaml:3',
  ]);
});

test('takes a file of 1 MiB and refuses one byte more', () => {
  const padded = (bytes: number) => `${server('one')}#${'x'.repeat(bytes - server('one').length - 1)}`;
  expect(errorsOf(padded(1_048_576))).toEqual([]);
  expect(errorsOf(padded(1_048_577))).toEqual(['a.yaml:1:1: larger than 1 MiB']);
});

test('counts bytes, not characters', () => {
  expect(errorsOf(`${server('one')}#${'€'.repeat(400_000)}`)).toEqual(['a.yaml:1:1: larger than 1 MiB']);
});

test.each(['[', '- ', '{a: ', '? '])(
  'refuses %j nested a hundred thousand deep without running out of stack',
  (open) => {
    const [error] = errorsOf(open.repeat(100_000));
    expect(error).toMatch(/^a\.yaml:1:[0-9]+: nested more than 32 levels deep$/);
  },
);

test('refuses more than a thousand documents in one file', () => {
  expect(errorsOf('--- a\n'.repeat(1_001))).toEqual(['a.yaml:1:1: more than 1000 documents in one file']);
});

test('shows 199 errors and counts the rest', () => {
  const errors = errorsOf(
    `${server('one')}${Array.from({ length: 250 }, (_, at) => `x${at}: 1\n`).join('')}`,
  );
  expect(errors).toHaveLength(200);
  expect(errors.at(-1)).toMatch(/: and 51 more errors$/);
});

test('shows exactly 200 errors when there are 200', () => {
  const errors = errorsOf(
    `${server('one')}${Array.from({ length: 200 }, (_, at) => `x${at}: 1\n`).join('')}`,
  );
  expect(errors).toHaveLength(200);
  expect(errors.at(-1)).toMatch(/: x199: unknown key$/);
});

test('refuses a source without any document, since an empty body with prune would delete the set', () => {
  expect(errorsOf('')).toEqual(['a.yaml:1:1: no document in this file']);
});

test('accepts text that only looks like a tag, an anchor or a variable when it is quoted', () => {
  const { errors, documents } = parseDocuments([
    { file: 'a.yaml', text: server('one').replace('name: one', 'name: one, owner: "&team !finance *"') },
  ]);
  expect(errors).toEqual([]);
  expect(documents[0]?.document.metadata.owner).toBe('&team !finance *');
});

test('suggests no word that is far away', () => {
  expect(errorsOf(server('one', ', temperature: 1'))).toEqual(['a.yaml:4:46: spec.temperature: unknown key']);
});
