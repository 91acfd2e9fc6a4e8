import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { compileDocuments, formatError, formatFinding, jsonSchemas, lint, parseDocuments } from './index.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const documents = readdirSync(`${root}examples`).filter((file) => file.endsWith('.yaml'));
const sources = documents.map((file) => ({
  file: `examples/${file}`,
  text: readFileSync(`${root}examples/${file}`, 'utf8'),
}));

test('the examples parse and lint clean together', () => {
  const { documents, errors } = parseDocuments(sources);
  expect(errors.map(formatError)).toEqual([]);
  expect(lint(documents, []).map(formatFinding)).toEqual([]);
  expect(documents.map(({ kind }) => kind)).toEqual(
    expect.arrayContaining(['GrantTemplate', 'TrustedIssuer', 'Provider', 'ResourceServer', 'RoleBinding']),
  );
});

test('the examples name schemas that exist', () => {
  const files = jsonSchemas().map(({ file }) => file);
  for (const { text } of sources) {
    const [, named] = /\$schema=\.\.\/schemas\/(.*)$/m.exec(text) ?? [];
    expect(files).toContain(named);
  }
});

test('the examples compile to the template that the journeys use', () => {
  const { documents } = parseDocuments(sources);
  const versioned = documents.map(({ document }) => ({ version: 3, document }));
  const set = compileDocuments(versioned, { brokerIssuer: 'http://127.0.0.1:8080' });
  const template = set.templates.get('invoice-reconcile');
  expect(template?.version).toBe(3);
  expect(template?.grants.map(({ tool, provider, access }) => [tool, provider, access])).toEqual([
    ['s3.read', 'local-aws', 's3.object'],
    ['report.post', 'token', 'token'],
  ]);
  expect(template?.params['quarter']?.accepts('2026q3')).toBe(true);
  expect(template?.params['quarter']?.accepts('2026q5')).toBe(false);
});

test('the committed schemas are those that the documents give', () => {
  for (const { file, text } of jsonSchemas())
    expect(readFileSync(`${root}schemas/${file}`, 'utf8')).toBe(text);
  expect(readdirSync(`${root}schemas`).sort()).toEqual(
    jsonSchemas()
      .map(({ file }) => file)
      .sort(),
  );
});
