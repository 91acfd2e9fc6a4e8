import { expect, test } from '@jest/globals';
import { type ActiveDocument, changedPaths, diffDocuments, parseDocuments, setConflicts } from './index.ts';

const server = (name: string, more = '') =>
  `apiVersion: mayfly/v1\nkind: ResourceServer\nmetadata: { name: ${name} }\nspec: { audience: "https://${name}.example/mcp"${more} }\n`;

const parse = (...texts: readonly string[]) =>
  texts.length === 0 ? [] : parseDocuments([{ file: 'a.yaml', text: texts.join('---\n') }]).documents;

function active(set: string, version: number, text: string): ActiveDocument {
  const [parsed] = parse(text);
  if (parsed === undefined) throw new Error('no document');
  return {
    kind: parsed.kind,
    name: parsed.name,
    version,
    set,
    body: JSON.parse(JSON.stringify(parsed.document)),
  };
}

const plan = (before: readonly ActiveDocument[], texts: readonly string[], prune = false) =>
  diffDocuments(before, parse(...texts), { set: 'finance', prune }).map(
    ({ action, name, from, to, paths }) => [action, name, from, to, ...paths],
  );

test('a document that is not there yet is created', () => {
  expect(plan([], [server('one')])).toEqual([['create', 'one', null, 1]]);
});

test('a document that says the same is left alone, whatever its spelling', () => {
  const spelled = server('one', ', verification: introspect, cacheSeconds: 5, subjects: []');
  expect(plan([active('finance', 3, server('one'))], [spelled])).toEqual([['none', 'one', 3, 3]]);
});

test('a changed document becomes a new version and names the places', () => {
  expect(
    plan([active('finance', 3, server('one'))], [server('one', ', cacheSeconds: 9, verification: offline')]),
  ).toEqual([['update', 'one', 3, 4, 'spec.verification', 'spec.cacheSeconds']]);
});

test('a document taken into another set is an update without a new version', () => {
  expect(plan([active('sales', 3, server('one'))], [server('one')])).toEqual([['update', 'one', 3, 3]]);
});

test('only prune deletes, and only in its own set', () => {
  const before = [active('finance', 1, server('one')), active('sales', 2, server('two'))];
  expect(plan(before, [])).toEqual([]);
  expect(plan(before, [], true)).toEqual([['delete', 'one', 1, null]]);
});

test('changed places name list entries, added and removed keys', () => {
  expect(changedPaths({ a: [1, { b: 2 }], c: 1 }, { a: [1, { b: 3 }, 4], d: null })).toEqual([
    'a[1].b',
    'a[2]',
    'c',
    'd',
  ]);
  expect(changedPaths({ a: 1 }, { a: 1 })).toEqual([]);
});

const conflicts = (set: string, takeOver: boolean, text = server('one', ', cacheSeconds: 9')) => {
  const before = [active(set, 1, server('one'))];
  const changes = diffDocuments(before, parse(text), { set: 'finance', prune: false });
  return setConflicts(changes, before, { set: 'finance', takeOver }).map(({ reason }) => reason);
};

test('a document of another set is refused unless taken over, one of the bundle always', () => {
  expect(conflicts('finance', false)).toEqual([]);
  expect(conflicts('sales', false)).toEqual(['set_conflict']);
  expect(conflicts('sales', true)).toEqual([]);
  expect(conflicts('bundle', false)).toEqual(['bundle_read_only']);
  expect(conflicts('bundle', true)).toEqual(['bundle_read_only']);
});
