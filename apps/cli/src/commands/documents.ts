import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import {
  accessTable,
  formatError,
  formatFinding,
  jsonSchemas,
  lint,
  parseDocuments,
  type Source,
} from '@mayfly/policy';
import type { Command } from 'commander';
import { createClient, type Json } from '../client.ts';
import { fail } from '../exit.ts';
import { parseFormat, printRows } from '../print.ts';

interface ApplyFlags {
  readonly set: string;
  readonly prune?: boolean;
  readonly takeOver?: boolean;
  readonly yes?: boolean;
  readonly output: string;
}

const marks: Readonly<Record<string, string>> = { create: '+', update: '~', delete: '-', none: ' ' };

export function registerDocuments(program: Command): void {
  program
    .command('lint <paths...>')
    .description(
      'checks documents without a broker: every error as file:line:col: path: message. A folder is taken as complete; files alone may name what is elsewhere',
    )
    .action((paths: string[]) => runLint(paths));
  for (const [verb, says] of [
    ['plan', 'what applying a folder would change; exit 0 nothing, 2 changes, 1 error'],
    ['apply', 'applies a folder as one set, atomically'],
  ] as const)
    program
      .command(`${verb} <path>`)
      .description(says)
      .requiredOption('--set <name>', 'the set that these documents belong to')
      .option('--prune', 'delete what the set no longer holds')
      .option('--take-over', 'take documents of other sets into this one')
      .option('--yes', 'do not ask')
      .option('-o, --output <format>', 'table or json', 'table')
      .action((path: string, flags: ApplyFlags) =>
        verb === 'plan' ? runPlan(path, flags) : runApply(path, flags),
      );
  program
    .command('schema [kind]')
    .description('JSON Schema of a document kind')
    .action((kind?: string) => {
      const found = jsonSchemas().filter(({ file }) => kind === undefined || file === `${kind}.json`);
      if (found.length === 0)
        fail(
          2,
          `unknown kind ${kind}: one of ${jsonSchemas()
            .map(({ file }) => file.replace('.json', ''))
            .join(', ')}`,
        );
      for (const { text } of found) process.stdout.write(text);
    });
  program
    .command('access')
    .description('what a `mint.access` opens, who enforces it, how it ends')
    .option('-o, --output <format>', 'table, json or yaml', 'table')
    .action(({ output }) => {
      const rows = accessTable.map((row) => ({
        ...row,
        verbs: Object.keys(row.permissions).join(' '),
        life: `${row.lifeSeconds.min}-${row.lifeSeconds.max} s`,
      }));
      printRows(rows, {
        format: parseFormat(output),
        columns: ['access', 'provider', 'resource', 'verbs', 'mechanism', 'enforcedBy', 'life', 'ends'],
      });
    });
}

function runLint(paths: readonly string[]): void {
  const { documents, errors } = parseDocuments(paths.flatMap(readSources));
  const findings = lint(documents, paths.some((path) => statSync(path).isDirectory()) ? [] : null);
  for (const error of errors) console.log(formatError(error));
  for (const finding of findings) console.log(formatFinding(finding));
  const failed = errors.length + findings.filter(({ level }) => level === 'ERROR').length;
  console.error(
    `${errors.length + findings.length} findings (${failed} errors) in ${documents.length} documents`,
  );
  if (failed > 0) process.exitCode = 1;
}

async function runPlan(path: string, flags: ApplyFlags): Promise<void> {
  const plan = await post('plan', path, flags);
  const changes = show(plan, flags.output);
  process.exitCode = changes > 0 ? 2 : 0;
}

async function runApply(path: string, flags: ApplyFlags): Promise<void> {
  const plan = await post('plan', path, flags);
  const changes = show(plan, flags.output);
  if (changes === 0) return;
  if (!flags.yes && !(await confirmed(changes))) fail(1, 'not applied');
  const applied = await post('apply', path, flags);
  console.error(`applied; policy epoch ${String(applied['epoch'])}`);
}

function post(verb: 'plan' | 'apply', path: string, { set, prune, takeOver }: ApplyFlags): Promise<Json> {
  const query = new URLSearchParams({
    set,
    prune: String(prune ?? false),
    takeOver: String(takeOver ?? false),
  });
  const yaml = readSources(path)
    .map(({ text }) => text)
    .join('\n---\n');
  return createClient().api('POST', `/v1/${verb}?${query}`, { yaml });
}

function show({ changes, findings }: Json, output: string): number {
  const list: Json[] = Array.isArray(changes) ? changes : [];
  const real = list.filter(({ action }) => action !== 'none');
  if (parseFormat(output) === 'json') console.log(JSON.stringify({ changes, findings }, null, 2));
  else
    for (const { action, kind, name, from, to, paths } of real) {
      console.log(`${marks[String(action)] ?? '?'} ${kind} ${name}  ${from ?? '-'} -> ${to ?? '-'}`);
      for (const changed of Array.isArray(paths) ? paths : []) console.log(`    ${changed}`);
    }
  for (const finding of Array.isArray(findings) ? findings : []) console.error(String(finding));
  console.error(`${real.length} changes`);
  return real.length;
}

async function confirmed(changes: number): Promise<boolean> {
  if (!process.stdin.isTTY) fail(2, 'no terminal to ask on: give --yes');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`Apply ${changes} changes? [y/N] `);
  terminal.close();
  return answer.trim().toLowerCase() === 'y';
}

function readSources(path: string): readonly Source[] {
  if (!existsSync(path)) return fail(2, `${path}: no such file or folder`);
  const files = statSync(path).isDirectory()
    ? readdirSync(path)
        .filter((name) => /\.ya?ml$/.test(name))
        .sort()
        .map((name) => join(path, name))
    : [path];
  return files.map((file) => ({ file, text: readFileSync(file, 'utf8') }));
}
