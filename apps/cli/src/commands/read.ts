import type { Command } from 'commander';
import { createClient, type Json } from '../client.ts';
import { fail } from '../exit.ts';
import { parseFormat, printOne, printRows, type Row } from '../print.ts';

/** `get`: route and the columns of its table. */
const lists: Readonly<
  Record<
    string,
    { readonly path: string; readonly columns: readonly string[]; readonly filters: readonly string[] }
  >
> = {
  tasks: {
    path: '/v1/tasks',
    columns: ['id', 'state', 'template', 'workload', 'ref', 'openedAt', 'expiresAt'],
    filters: ['state', 'template', 'workload'],
  },
  grants: { path: '/v1/grants', columns: ['id', 'name', 'tool', 'resource', 'actions'], filters: ['task'] },
  issuances: {
    path: '/v1/issuances',
    columns: [
      'id',
      'state',
      'workload',
      'tool',
      'resource',
      'template',
      'at',
      'endedBy',
      'endedAt',
      'reason',
    ],
    filters: [
      'task',
      'workload',
      'template',
      'tool',
      'resource',
      'provider',
      'decision',
      'reason',
      'state',
      'from',
      'to',
      'as-of',
    ],
  },
  templates: { path: '/v1/templates', columns: ['name', 'version', 'set'], filters: [] },
  issuers: { path: '/v1/issuers', columns: ['name', 'version', 'set'], filters: [] },
  providers: { path: '/v1/providers', columns: ['name', 'version', 'set'], filters: [] },
  servers: { path: '/v1/servers', columns: ['name', 'version', 'set'], filters: [] },
  bindings: { path: '/v1/bindings', columns: ['name', 'version', 'set'], filters: [] },
};

const filterNames = [...new Set(Object.values(lists).flatMap(({ filters }) => filters))];

export function registerRead(program: Command): void {
  const get = program
    .command('get <kind> [name]')
    .description(`lists ${Object.keys(lists).join(', ')}; with a name shows one; also: get freeze`);
  for (const name of filterNames) get.option(`--${name} <value>`, `only of this ${name}`);
  get
    .option('--limit <n>', 'rows', '50')
    .option('--effective', 'with all defaults (documents are always shown so)')
    .option('-o, --output <format>', 'table, json, yaml or name', 'table')
    .action((kind, name, flags) => runGet(kind, name, flags));
  program
    .command('describe <kind> <name>')
    .description('shows one thing whole')
    .option('-o, --output <format>', 'table, json or yaml', 'yaml')
    .action(async (kind, name, { output }) => printOne(await one(kind, name), parseFormat(output)));
  program
    .command('timeline <task>')
    .description('what happened to a task, its credentials and the tasks beneath it, in order')
    .option('--limit <n>', 'rows', '200')
    .option('--cursor <cursor>', 'go on after this seq')
    .option('-o, --output <format>', 'table, json or yaml', 'table')
    .action(async (id, { output, ...page }) => {
      const path = `/v1/tasks/${encodeURIComponent(id)}/timeline?${query(page)}`;
      const { items } = await createClient().api('GET', path);
      printRows(rowsOf(items), {
        format: parseFormat(output),
        columns: ['at', 'type', 'task', 'issuance', 'reason', 'actor'],
      });
    });
  program
    .command('explain <issuance>')
    .description('the stored decision of an issuance: which checks held, which failed, on what')
    .option('-o, --output <format>', 'table, json or yaml', 'yaml')
    .action(async (id, { output }) =>
      printOne(
        await createClient().api('GET', `/v1/issuances/${encodeURIComponent(id)}/explanation`),
        parseFormat(output),
      ),
    );
  program
    .command('whoami')
    .description('which identity was taken, its roles, and the claims that a template can match')
    .option('-o, --output <format>', 'table, json or yaml', 'table')
    .action(async ({ output }) => {
      const [seen, format] = [await whoami(), parseFormat(output)];
      if (format === 'table') console.log(whoamiLines(seen));
      else printOne(seen, format);
    });
  const audit = program.command('audit').description('the audit log');
  audit
    .command('query')
    .description('audit rows in order')
    .option('--task <id>', 'only of this task')
    .option('--issuance <id>', 'only of this issuance')
    .option('--type <type>', 'only of this type, for example exchange.refused')
    .option('--limit <n>', 'rows', '50')
    .option('--cursor <cursor>', 'go on after this seq')
    .option('-o, --output <format>', 'table, json or yaml', 'table')
    .action(async ({ output, ...filters }) => {
      const { items } = await createClient().api('GET', `/v1/audit/events?${query(filters)}`);
      printRows(rowsOf(items), {
        format: parseFormat(output),
        columns: ['seq', 'at', 'type', 'actor', 'taskId', 'issuanceId'],
      });
    });
}

/** What the broker sees, and where the identity came from. */
async function whoami(): Promise<Json> {
  const client = createClient();
  const seen = await client.api('GET', '/v1/whoami');
  const sources = await client.sources();
  const taken = sources.find((one) => one.taken)?.source ?? null;
  const passed = sources.filter((one) => !one.taken).map(({ source, says }) => `${source}: ${says}`);
  return { ...seen, server: client.server, identityFrom: taken, identityNotFrom: passed };
}

/** `jane@corp (corp-sso)  roles: auditor  from RoleBinding auditors`, the claims, and how that was found out. */
function whoamiLines(seen: Json): string {
  const byBinding = Map.groupBy(rowsOf(seen['roles']), ({ from }) => String(from));
  const roles = [...byBinding].map(([binding, held]) => {
    const names = held.map(({ role }) => String(role)).join(', ');
    const scope = scopeText(held[0]?.['scope']);
    return `roles: ${names}${scope}  from RoleBinding ${binding}`;
  });
  const head = `${String(seen['subject'])} (${String(seen['issuer'])})`;
  const claims = Object.entries(Object(seen['claims'])).map(
    ([name, value]) => `${name}=${JSON.stringify(value)}`,
  );
  return [
    ...(roles.length === 0 ? [`${head}  roles: none`] : roles.map((line) => `${head}  ${line}`)),
    `claims: ${claims.join(' ')}`,
    `by ${String(seen['identityFrom'])} at ${String(seen['server'])}`,
  ].join('\n');
}

function scopeText(scope: unknown): string {
  const patterns = [Reflect.get(Object(scope), 'templates'), Reflect.get(Object(scope), 'providers')];
  const texts = patterns.flatMap((list: unknown) => (Array.isArray(list) ? list.map(String) : []));
  return texts.length === 0 ? '' : ` [${texts.join(', ')}]`;
}

async function runGet(
  kind: string,
  name: string | undefined,
  flags: Readonly<Record<string, string>>,
): Promise<void> {
  const { output = 'table', limit = '50', ...rest } = flags;
  const format = parseFormat(output);
  if (!/^([1-9][0-9]{0,2}|1000)$/.test(limit)) fail(2, '--limit: 1 to 1000');
  if (kind === 'freeze') return printOne(await createClient().api('GET', '/v1/freeze'), format);
  if (name !== undefined) return printOne(await one(kind, name), format);
  const list =
    lists[plural(kind)] ?? fail(2, `unknown kind ${kind}: one of ${Object.keys(lists).join(', ')}, freeze`);
  const allowed = new Set(list.filters.map(camel));
  const unknown = filterNames.filter((one) => rest[camel(one)] !== undefined && !allowed.has(camel(one)));
  if (unknown.length > 0) {
    const known = list.filters.map((one) => `--${one}`).join(', ');
    fail(
      2,
      `get ${kind} does not filter by --${unknown.join(', --')}${known === '' ? '' : `; it does by ${known}`}`,
    );
  }
  const filters = Object.fromEntries(
    Object.entries({ ...rest, limit }).filter(([key]) => key === 'limit' || allowed.has(key)),
  );
  const { items, nextCursor } = await createClient().api('GET', `${list.path}?${query(filters)}`);
  printRows(rowsOf(items), { format, columns: list.columns });
  if (nextCursor !== null && nextCursor !== undefined)
    console.error('there are more rows: raise --limit or narrow the filters');
}

function one(kind: string, name: string): Promise<Json> {
  const list = lists[plural(kind)] ?? fail(2, `unknown kind ${kind}`);
  return createClient().api('GET', `${list.path}/${encodeURIComponent(name)}`);
}

function plural(kind: string): string {
  return kind.endsWith('s') ? kind : `${kind}s`;
}

function camel(text: string): string {
  return text.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function query(filters: Readonly<Record<string, unknown>>): string {
  const stated = new URLSearchParams();
  for (const [key, value] of Object.entries(filters)) if (value !== undefined) stated.set(key, String(value));
  return stated.toString();
}

function rowsOf(items: unknown): readonly Row[] {
  return Array.isArray(items) ? items.map((one) => ({ ...Object(one) })) : [];
}
