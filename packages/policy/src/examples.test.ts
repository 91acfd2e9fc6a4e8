import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import {
  accessTable,
  compileDocuments,
  formatError,
  formatFinding,
  jsonSchemas,
  lint,
  parseDocuments,
} from './index.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const sourcesIn = (folder: string) =>
  readdirSync(root + folder)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => ({ file: `${folder}/${file}`, text: readFileSync(`${root}${folder}/${file}`, 'utf8') }));
const sources = sourcesIn('examples');
/** Not applied by `mayfly dev`: each needs a platform, or a stand-in that only tests start. */
const issuers = sourcesIn('examples/issuers');
const clouds = sourcesIn('examples/clouds');

/** All but the one warning that an example is there to show. */
const said = (documents: Parameters<typeof lint>[0]) =>
  lint(documents, [])
    .filter(({ file, rule }) => !(file === 'examples/aws-services.yaml' && rule === 'tells-what-is-there'))
    .map(formatFinding);

test('the examples parse and lint clean together', () => {
  const { documents, errors } = parseDocuments(sources);
  expect(errors.map(formatError)).toEqual([]);
  expect(said(documents)).toEqual([]);
  expect(documents.map(({ kind }) => kind)).toEqual(
    expect.arrayContaining(['GrantTemplate', 'TrustedIssuer', 'Provider', 'ResourceServer', 'RoleBinding']),
  );
});

test('the examples of issuers lint clean beside them, one for each type and cloud', () => {
  const { documents, errors } = parseDocuments([...sources, ...issuers]);
  expect(errors.map(formatError)).toEqual([]);
  expect(said(documents)).toEqual([]);
  expect(issuers.map(({ file }) => file.replace(/^.*\//, ''))).toEqual(
    ['aws', 'azure', 'github', 'gitlab', 'google', 'kubernetes', 'spiffe'].map((name) => `${name}.yaml`),
  );
});

test('the examples of clouds lint clean beside them, each a Provider and a template that uses it', () => {
  for (const source of clouds) {
    const { documents, errors } = parseDocuments([...sources, source]);
    expect(errors.map(formatError)).toEqual([]);
    expect(said(documents)).toEqual([]);
    const own = parseDocuments([source]).documents.map(({ kind }) => kind);
    expect(own).toEqual(expect.arrayContaining(['Provider', 'GrantTemplate']));
  }
});

test.each(accessTable.map(({ access }) => [access]))('a grant of the examples has access %s', (access) => {
  const { documents } = parseDocuments([...sources, ...clouds]);
  const templates = documents.flatMap(({ document }) =>
    document.kind === 'GrantTemplate' ? document.spec.grants : [],
  );
  // The provider token needs no access: it has one.
  const had = templates.map(({ mint }) => mint.access ?? mint.provider);
  expect(had).toContain(access);
});

test('the examples name schemas that exist', () => {
  const files = jsonSchemas().map(({ file }) => file);
  for (const { text } of [...sources, ...issuers, ...clouds]) {
    const named = [...text.matchAll(/\$schema=(?:\.\.\/)+schemas\/(.*)$/gm)].map(([, file]) => file);
    expect(named.length).toBeGreaterThan(0);
    for (const file of named) expect(files).toContain(file);
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
