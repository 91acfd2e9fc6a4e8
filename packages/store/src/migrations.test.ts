import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

/** The schema of the first release: what comes after it is applied while brokers of the release before still serve. */
const firstRelease = '0004_sign_in';
const folder = new URL('../../../prisma/migrations/', import.meta.url);

const narrows = [
  /\bdrop (table|column|function|view|index|type|constraint|trigger)\b/i,
  /\brename (to|column|constraint)\b/i,
  /\balter column \w+ (set not null|(set data )?type)\b/i,
  /\badd column (if not exists )?\w+ [^,;]*\bnot null\b(?![^,;]*\bdefault\b)/i,
  /\badd constraint\b(?![^;]*\bnot valid\b)/i,
  /\brevoke\b/i,
] as const;

/**
 * Statements that a broker of the release before could not live with. One that is meant, since no supported release
 * needs what it takes away, says so in a comment above it: `-- contract: why`.
 */
function narrowing(sql: string): readonly string[] {
  const bodies = sql.replaceAll(/\$(\w*)\$[\s\S]*?\$\1\$/g, "''");
  return bodies
    .split(';')
    .filter((statement) => !/^\s*-- contract: \S/m.test(statement))
    .map((statement) => statement.replaceAll(/--.*$/gm, '').trim())
    .filter((statement) => narrows.some((one) => one.test(statement)));
}

test.each([
  'drop table task',
  'alter table task drop column ref',
  'alter table task rename column ref to reference',
  'alter table task alter column ref set not null',
  'alter table task alter column ref type text',
  'alter table task add column made_up text not null',
  "alter table task add constraint made_up check (ref <> '')",
  'revoke select on task from mayfly_app',
  'drop function intend(jsonb)',
])('%s would break a broker of the release before', (sql) => {
  expect(narrowing(`-- A comment.\n${sql};\ncreate table made_up (id uuid)`)).toEqual([sql]);
  expect(narrowing(`-- contract: nobody asks for it since 1.4\n${sql};`)).toEqual([]);
});

test.each([
  'create table made_up (id uuid primary key, name text not null)',
  'alter table task add column made_up text',
  "alter table task add column made_up text not null default ''",
  "alter table task add constraint made_up check (ref <> '') not valid",
  'create or replace function made_up() returns void language plpgsql as $$ begin drop table x; end $$',
  'create index concurrently made_up on task (ref)',
])('%s does not', (sql) => {
  expect(narrowing(sql)).toEqual([]);
});

test('every migration after the first release leaves what the release before needs', () => {
  const later = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name > firstRelease)
    .map(({ name }) => name);
  const found = later.flatMap((name) =>
    narrowing(readFileSync(new URL(`${name}/migration.sql`, folder), 'utf8')).map((sql) => `${name}: ${sql}`),
  );
  expect(found).toEqual([]);
});
