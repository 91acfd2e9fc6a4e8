import { Refusal } from '@mayfly/core';
import { formatId, parseId } from '@mayfly/protocol';
import type { IssuanceColumn, IssuanceScope } from '@mayfly/store';
import { holdsRole, holdsUnscoped, type Principal } from './authenticate.ts';
import type { Reply } from './errors.ts';
import { type Call, ok, pageOf, type Route } from './route.ts';
import { relationsTo } from './tasks.ts';

const readers = ['auditor', 'operator', 'admin'] as const;
const filters = [
  'task',
  'workload',
  'actor',
  'template',
  'tool',
  'resource',
  'provider',
  'decision',
  'reason',
  'state',
] as const;
/** Rows per read of a streamed export. */
const streamPage = 1000;

export const issuanceRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/issuances',
    access: 'attested',
    says: 'Who had what, why, and how it ended; one’s own, or all within scope for auditor and operator',
    query: [...filters, 'from', 'to', 'asOf', 'limit', 'cursor'],
    handle: list,
  },
  {
    method: 'GET',
    path: '/v1/issuances/:id',
    access: 'attested',
    says: 'Shows one issuance',
    handle: async (call) => ok(await one(call)),
  },
  {
    method: 'GET',
    path: '/v1/issuances/:id/explanation',
    access: 'attested',
    says: 'The stored decision: which checks held, which failed, and on what input',
    handle: explain,
  },
];

async function list(call: Call): Promise<Reply> {
  const { request } = call;
  const { limit, cursor } = pageOf(request.query);
  const accept = request.headers.accept ?? '';
  if (accept.includes('text/csv')) return stream(call, 'text/csv', toCsv);
  if (accept.includes('application/x-ndjson'))
    return stream(call, 'application/x-ndjson', (rows) =>
      rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
    );
  const page = await read(call, { limit, cursor });
  return ok({ items: page.items.map(view), nextCursor: page.nextCursor });
}

/** All rows that fit, read page by page while the client takes them; nothing is held. */
async function stream(
  call: Call,
  contentType: string,
  write: (rows: readonly Record<string, unknown>[], first: boolean) => string,
): Promise<Reply> {
  const first = await read(call, { limit: streamPage, cursor: null });
  async function* pages() {
    yield write(first.items.map(view), true);
    let cursor = first.nextCursor;
    while (cursor !== null) {
      const page = await read(call, { limit: streamPage, cursor });
      yield write(page.items.map(view), false);
      cursor = page.nextCursor;
    }
  }
  return { status: 200, body: pages(), contentType };
}

function toCsv(rows: readonly Record<string, unknown>[], first: boolean): string {
  const [head] = rows;
  if (head === undefined) return '';
  // A cell that a spreadsheet would run as a formula is led by an apostrophe.
  const cell = (value: unknown) => {
    const text =
      value === null || value === undefined ? '' : Array.isArray(value) ? value.join(' ') : String(value);
    return `"${(/^[=+@\t\r-]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  const lines = rows.map((row) => Object.values(row).map(cell).join(','));
  return `${[...(first ? [Object.keys(head).join(',')] : []), ...lines].join('\r\n')}\r\n`;
}

async function read(call: Call, page: { limit: number; cursor: string | null }) {
  const { broker, principal, request } = call;
  const { query } = request;
  const where: Partial<Record<IssuanceColumn, string>> = {};
  for (const name of filters) {
    const value = query.get(name);
    if (value !== null) where[name] = name === 'task' ? taskId(value) : value;
  }
  const found = await broker.store.issuances({
    ...page,
    where: { ...where, kind: 'agent', ...seenBy(principal) },
    from: moment(query.get('from')),
    to: moment(query.get('to')),
    asOf: moment(query.get('asOf')),
    scopes: scopesOf(principal),
  });
  return { ...found, items: await owned(call, found.items) };
}

/** Without a role, and with an assertion, one sees what belongs to tasks that one owns: `bind` makes two of one subject. */
async function owned(
  { broker, principal }: Call,
  rows: readonly Record<string, unknown>[],
): Promise<readonly Record<string, unknown>[]> {
  if (principal.viaTask !== null || holdsRole(principal, readers)) return rows;
  const seen: Record<string, unknown>[] = [];
  for (const row of rows) {
    const taskId = row['task_id'];
    const found = typeof taskId === 'string' ? await broker.exchange.tasks.find(taskId) : undefined;
    if (found === undefined || (await relationsTo(found, principal, broker)).has('owner')) seen.push(row);
  }
  return seen;
}

/** Without a reading role one sees one's own; a task token those of its task. */
function seenBy(principal: Principal): Partial<Record<IssuanceColumn, string>> {
  if (principal.viaTask !== null) return { task: principal.viaTask.task.id };
  return holdsRole(principal, readers) ? {} : { workload: principal.name };
}

/** One pair of patterns for each role held; a row within any of them is seen, null means every row. */
function scopesOf(principal: Principal): readonly IssuanceScope[] | null {
  const held = principal.roles.filter(({ role }) => (readers as readonly string[]).includes(role));
  if (held.length === 0) return null; // Then `seenBy` narrows to the caller's own.
  if (holdsUnscoped(principal, readers)) return null;
  return held.map(({ scope }) => ({
    templates: scope.templates?.map(({ text }) => sqlPattern(text)) ?? null,
    providers: scope.providers?.map(({ text }) => sqlPattern(text)) ?? null,
  }));
}

/** As a regular expression of PostgreSQL: `*` is a run inside one segment. */
function sqlPattern(text: string): string {
  return `^${text.replace(/[.\\+?^${}()|[\]]/g, '\\$&').replaceAll('*', '[^/:]*')}$`;
}

async function one(call: Call): Promise<Record<string, unknown>> {
  const { broker, principal, request } = call;
  const id = parseId('isn', request.params['id'] ?? '');
  if (id === undefined) throw new Refusal('not_found');
  const page = await broker.store.issuances({
    limit: 1,
    cursor: null,
    where: { id, ...seenBy(principal) },
    from: null,
    to: null,
    asOf: null,
    scopes: scopesOf(principal),
  });
  const [row] = await owned(call, page.items);
  if (row === undefined) throw new Refusal('not_found');
  return view(row);
}

async function explain(call: Call): Promise<Reply> {
  const seen = await one(call);
  const id = parseId('isn', call.request.params['id'] ?? '') ?? '';
  const row = await call.broker.store.explanation(id);
  if (row === undefined) throw new Refusal('not_found');
  const { explanation, input_digest: inputDigest, policy_epoch: policyEpoch } = row;
  return ok({ ...seen, inputDigest, policyEpoch: Number(policyEpoch), explanation });
}

/** snake_case columns of the view as camelCase, ids in their shown form. */
function view(row: Record<string, unknown>): Record<string, unknown> {
  const shown = Object.entries(row).map(([column, value]) => {
    const key = column.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (value instanceof Date) return [key, value.toISOString()];
    if (column === 'id' && typeof value === 'string') return [key, formatId('isn', value)];
    if (column === 'task_id' && typeof value === 'string') return [key, formatId('tsk', value)];
    return [key, typeof value === 'bigint' ? Number(value) : value];
  });
  const named = (who: string) =>
    row[`${who}_issuer`] === null ? null : `${row[`${who}_issuer`]}/${row[`${who}_subject`]}`;
  // `actor` acted for `workload`; null where it asked itself.
  return { ...Object.fromEntries(shown), workload: named('workload'), actor: named('actor') };
}

function taskId(text: string): string {
  const id = parseId('tsk', text);
  if (id === undefined) throw new Refusal('malformed_request', { detail: 'task' });
  return id;
}

function moment(text: string | null): Date | null {
  if (text === null) return null;
  const date = new Date(text);
  if (Number.isNaN(date.getTime()) || !/^\d{4}-\d{2}-\d{2}/.test(text))
    throw new Refusal('malformed_request', { detail: 'time' });
  return date;
}
