import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { formatError, formatFinding, lint, parseDocuments } from './index.ts';

const golden = fileURLToPath(new URL('../golden/', import.meta.url));
const examples = fileURLToPath(new URL('../../../examples/', import.meta.url));
/** `MAYFLY_GOLDEN=write` rewrites the expected errors; a run that wrote has proven nothing and fails. */
const rewrite = process.env['MAYFLY_GOLDEN'] === 'write';

const files = readdirSync(golden).filter((file) => file.endsWith('.yaml'));
const inForce = parseDocuments(
  readdirSync(examples)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => ({ file, text: readFileSync(examples + file, 'utf8') })),
).documents.map(({ document }) => document);

function findingsOf(file: string): { lines: readonly string[]; refused: boolean } {
  const { documents, errors } = parseDocuments([{ file, text: readFileSync(golden + file, 'utf8') }]);
  const findings = lint(documents, inForce);
  const refused = errors.length > 0 || findings.some(({ level }) => level === 'ERROR');
  return { lines: [...errors.map(formatError), ...findings.map(formatFinding)], refused };
}

test('the golden folder holds at least 60 malformed files, each with its expected errors', () => {
  expect(files.length).toBeGreaterThanOrEqual(60);
  const expected = readdirSync(golden).filter((file) => file.endsWith('.txt'));
  expect(expected).toEqual(files.map((file) => file.replace(/yaml$/, 'txt')));
});

test.each(files)('%s is refused with exactly the expected errors', (file) => {
  const { lines, refused } = findingsOf(file);
  const answer = golden + file.replace(/yaml$/, 'txt');
  if (rewrite) writeFileSync(answer, `${lines.join('\n')}\n`);
  expect(rewrite).toBe(false);
  expect(`${lines.join('\n')}\n`).toBe(readFileSync(answer, 'utf8'));
  expect(refused).toBe(true);
  for (const line of lines) expect(line).toMatch(/^[^:]+\.yaml:[1-9][0-9]*:[1-9][0-9]*: ./);
});

test('no two files are refused for the same words at the same path', () => {
  const words = files.map((file) =>
    findingsOf(file)
      .lines.join('\n')
      .replaceAll(/^[^ ]+ /gm, ''),
  );
  expect(new Set(words).size).toBe(words.length);
});
