import { Refusal, type Task, type TaskFound } from '@mayfly/core';
import { type Database, orFault } from './database.ts';
import { taskFromRow } from './task-rows.ts';

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

export interface PageRequest {
  readonly limit: number;
  readonly cursor: string | null;
}

/** Filters of `GET /v1/issuances`; texts are compared whole, `from` and `to` bound `at`, `asOf` what was held then. */
export interface IssuanceFilters extends PageRequest {
  readonly where: Readonly<Partial<Record<IssuanceColumn, string>>>;
  readonly from: Date | null;
  readonly to: Date | null;
  readonly asOf: Date | null;
  /** What the caller may see: a row within any of these; null means every row. */
  readonly scopes: readonly IssuanceScope[] | null;
}

/** Regular expressions of PostgreSQL; null does not narrow. */
export interface IssuanceScope {
  readonly templates: readonly string[] | null;
  readonly providers: readonly string[] | null;
}

const issuanceColumns = {
  task: 'task_id::text',
  workload: "workload_issuer || '/' || workload_subject",
  actor: "actor_issuer || '/' || actor_subject",
  template: 'template',
  tool: 'tool',
  resource: 'resource',
  provider: 'provider',
  decision: 'decision',
  reason: 'reason',
  state: 'state',
  id: 'id::text',
  kind: 'kind',
} as const;
export type IssuanceColumn = keyof typeof issuanceColumns;

export interface AuditRow {
  readonly seq: bigint;
  readonly id: string;
  readonly at: Date;
  readonly type: string;
  readonly actor: string | null;
  readonly taskId: string | null;
  readonly issuanceId: string | null;
  readonly body: Uint8Array;
  readonly leafHash: Uint8Array;
}

export function createQueries(database: Database) {
  return {
    /** Until when nothing opens or mints for this workload under this template; null: it does. */
    quarantinedUntil: async ({ template, workload }: Task): Promise<Date | null> => {
      const text = `select until from quarantine where template = $1 and workload_issuer = $2 and workload_subject = $3
        and until > clock_timestamp()`;
      const values = [template, workload.issuerName, workload.subject];
      const [row] = await database.call<{ until: Date }>('quarantined_until', text, values);
      return row?.until ?? null;
    },
    issuances: (filters: IssuanceFilters) => issuances(database, filters),
    explanation: (id: string) => explanation(database, id),
    tasks: (filters: TaskFilters) => tasks(database, filters),
    auditEvents: (filters: AuditFilters) => auditEvents(database, filters),
    /** A task and all beneath it. */
    tree: (id: string) => tree(database, id),
    timeline: (filters: TimelineFilters) => timeline(database, filters),
    listRevocations: (page: PageRequest) => listRevocations(database, page),
    tokenStatus: (id: string) => tokenStatus(database, id),
    issued: (id: string) => issued(database, id),
  };
}

async function issuances(
  database: Database,
  filters: IssuanceFilters,
): Promise<Page<Record<string, unknown>>> {
  const values: unknown[] = [];
  const bind = (value: unknown) => `$${values.push(value)}`;
  const clauses = Object.entries(filters.where).map(
    ([column, value]) => `${issuanceColumns[column as IssuanceColumn]} = ${bind(value)}`,
  );
  if (filters.from !== null) clauses.push(`at >= ${bind(filters.from)}`);
  if (filters.to !== null) clauses.push(`at < ${bind(filters.to)}`);
  if (filters.asOf !== null) {
    const moment = bind(filters.asOf);
    clauses.push(
      `decision = 'allow' and issued_at <= ${moment} and coalesce(ended_at, expires_at) > ${moment}`,
    );
  }
  if (filters.scopes !== null) clauses.push(scopeClause(filters.scopes, bind));
  if (filters.cursor !== null) clauses.push(`seq < ${bind(seqCursor(filters.cursor))}`);
  const where = clauses.length === 0 ? '' : `where ${clauses.join(' and ')}`;
  const text = `select * from mayfly_issuances_v1 ${where} order by seq desc limit ${bind(filters.limit + 1)}`;
  const { rows } = await orFault(() => database.pool.query<Record<string, unknown>>(text, values));
  return page(rows, filters.limit, (row) => String(row['seq']));
}

function scopeClause(scopes: readonly IssuanceScope[], bind: (value: unknown) => string): string {
  const each = scopes.map(({ templates, providers }) => {
    const parts = [
      templates === null ? 'true' : `template ~ any(${bind(templates)})`,
      providers === null ? 'true' : `provider ~ any(${bind(providers)})`,
    ];
    return `(${parts.join(' and ')})`;
  });
  return each.length === 0 ? 'false' : `(${each.join(' or ')})`;
}

async function explanation(database: Database, id: string): Promise<Record<string, unknown> | undefined> {
  const text = `select i.explanation || case when i.plan is null then '{}' else
      jsonb_build_object('ends', i.plan->'ends', 'enforcement', i.plan->'enforcement') end as explanation, i.input_digest, i.policy_epoch, i.template, i.template_version, i.provider, i.tool,
      i.decision, i.reason, i.intended_at as at, i.workload_issuer || '/' || i.workload_subject as workload, i.resource
    from issuance i where i.id = $1 and i.intended_at = uuid_time($1)`;
  const [row] = await database.call('explanation', text, [id]);
  return row;
}

export interface TaskFilters extends PageRequest {
  readonly state: string | null;
  readonly template: string | null;
  /** `ISSUERNAME/SUBJECT`. */
  readonly workload: string | null;
}

async function tasks({ prisma }: Database, filters: TaskFilters): Promise<Page<TaskFound>> {
  const { state, template, workload, limit, cursor } = filters;
  const slash = workload?.indexOf('/') ?? -1;
  if (workload !== null && slash < 1) throw new Refusal('malformed_request', { detail: 'workload' });
  const where = {
    ...(state === null ? {} : { state }),
    ...(template === null ? {} : { template }),
    ...(workload === null
      ? {}
      : { workloadIssuer: workload.slice(0, slash), workloadSubject: workload.slice(slash + 1) }),
    ...(cursor === null ? {} : { id: { lt: uuidCursor(cursor) } }),
  };
  const rows = await orFault(() =>
    prisma.task.findMany({ where, include: { grants: true }, orderBy: { id: 'desc' }, take: limit + 1 }),
  );
  return page(rows.map(taskFromRow), limit, ({ task }) => task.id);
}

export interface AuditFilters {
  readonly after: string | null;
  readonly limit: number;
  readonly type: string | null;
  readonly task: string | null;
  readonly issuance: string | null;
}

async function auditEvents({ prisma }: Database, filters: AuditFilters): Promise<Page<AuditRow>> {
  const { after, limit, type, task, issuance } = filters;
  const where = {
    ...(after === null ? {} : { seq: { gt: seqCursor(after) } }),
    ...(type === null ? {} : { type }),
    ...(task === null ? {} : { taskId: task }),
    ...(issuance === null ? {} : { issuanceId: issuance }),
  };
  const rows = await orFault(() =>
    prisma.auditEntry.findMany({ where, orderBy: { seq: 'asc' }, take: limit + 1 }),
  );
  return page(rows, limit, ({ seq }) => String(seq));
}

function tree(database: Database, id: string): Promise<readonly { id: string; template: string }[]> {
  const text = `with recursive tree as (
      select id, template from task where id = $1 union all
      select t.id, t.template from task t join tree on t.parent_id = tree.id
    ) select id, template from tree`;
  return database.call<{ id: string; template: string }>('task_tree', text, [id]);
}

export interface TimelineFilters extends PageRequest {
  readonly tasks: readonly string[];
}

/** Events of these tasks and of their credentials, in order. */
async function timeline(
  { prisma }: Database,
  { tasks: of, limit, cursor }: TimelineFilters,
): Promise<Page<AuditRow>> {
  const where = { taskId: { in: [...of] }, ...(cursor === null ? {} : { seq: { gt: seqCursor(cursor) } }) };
  const rows = await orFault(() =>
    prisma.auditEntry.findMany({ where, orderBy: { seq: 'asc' }, take: limit + 1 }),
  );
  return page(rows, limit, ({ seq }) => String(seq));
}

/** Their ids, the newest first. */
async function listRevocations(database: Database, { limit, cursor }: PageRequest): Promise<Page<string>> {
  const text = 'select id from revocation where $1::uuid is null or id < $1 order by id desc limit $2';
  const before = cursor === null ? null : uuidCursor(cursor);
  const rows = await database.call<{ id: string }>('list_revocations', text, [before, limit + 1]);
  const ids = rows.map(({ id }) => id);
  return page(ids, limit, (id) => id);
}

/** What decides who may revoke it; undefined for what was never issued to an agent. */
async function issued(
  database: Database,
  id: string,
): Promise<{ taskId: string; template: string; provider: string } | undefined> {
  const text = `select task_id as "taskId", template, provider from issuance
    where id = $1 and intended_at = uuid_time($1) and decision = 'allow' and purpose = 'agent'`;
  const [row] = await database.call<{ taskId: string; template: string; provider: string }>('issued', text, [
    id,
  ]);
  return row;
}

/** Is this tool token of ours still good? One statement: delivered, unexpired and not revoked, task open, grant active, generation current. */
async function tokenStatus(database: Database, id: string): Promise<boolean> {
  const text = `select true as active from issuance i
      join task_grant g on g.id = i.grant_id join task t on t.id = i.task_id
    where i.id = $1 and i.intended_at = uuid_time($1) and i.local and i.decision = 'allow'
      and i.not_after > clock_timestamp() and refuse_task(t.id) is null and g.state = 'active' and g.generation = i.generation
      and not exists (select from issuance_end e where e.issuance_id = i.id and e.intended_at = i.intended_at)`;
  const rows = await database.call('token_status', text, [id]);
  return rows.length === 1;
}

function page<T>(rows: readonly T[], limit: number, cursorOf: (row: T) => string): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > limit && last !== undefined ? cursorOf(last) : null };
}

function seqCursor(cursor: string): bigint {
  if (!/^[0-9]{1,18}$/.test(cursor)) throw new Refusal('malformed_request', { detail: 'cursor' });
  return BigInt(cursor);
}

function uuidCursor(cursor: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(cursor))
    throw new Refusal('malformed_request', { detail: 'cursor' });
  return cursor;
}
