import type { ReaperBench } from './reaper-installation.ts';

export type Cloud = 'aws' | 'kubernetes';
export const lanes: Readonly<Record<Cloud, string>> = { aws: 'local-aws', kubernetes: 'bench-k8s' };

/** Rows of one statement: each is a transaction that fits into the WAL between two checkpoints. */
const fillRows = 50_000;

/**
 * Outstanding credentials, half at each cloud: copies of one real issuance of each, with ids, sessions and Secrets of
 * their own. They are delivered, and expire an hour from now.
 */
export async function fill(bench: ReaperBench, options: { outstanding: number }): Promise<void> {
  const columns = await bench.sql(
    `select string_agg(case column_name
        when 'id' then 'n.id' when 'intended_at' then 'n.at' when 'seq' then 'nextval(''issuance_seq'')'
        when 'task_id' then 'n.task' when 'not_after' then 'clock_timestamp() + interval ''1 hour'''
        when 'plan' then 'n.plan' when 'reach' then 'n.plan->>''reach''' else 'i.' || quote_ident(column_name) end, ', ' order by ordinal_position) as list
     from information_schema.columns where table_schema = 'public' and table_name = 'issuance'`,
  );
  const each = Math.floor(options.outstanding / 2);
  for (const cloud of ['aws', 'kubernetes'] as const)
    for (let from = 0; from < each; from += fillRows) {
      const to = Math.min(each, from + fillRows) - 1;
      await bench.sql(statement(cloud, String(columns[0]?.['list'])), [lanes[cloud], from, to]);
    }
  await bench.sql('vacuum analyze');
}

function statement(cloud: Cloud, columns: string): string {
  const plan =
    cloud === 'aws'
      ? `i.plan || jsonb_build_object('reach', 'mf-bench-' || g, 'taskId', f.task,
          'body', (i.plan->'body') || jsonb_build_object('sourceIdentity', 'mf-bench-' || g))`
      : `jsonb_set(i.plan || jsonb_build_object('reach', 'agents/bench-' || g), '{body,secret,name}', to_jsonb('bench-' || g))`;
  return `with pattern as (
      select * from issuance where provider = $1 and decision = 'allow' and purpose = 'agent' order by seq limit 1
    ), fresh as (
      select g, uuidv7() as id, gen_random_uuid() as task from generate_series($2::int, $3::int) g
    ), n as (
      select f.id, f.task, date_trunc('milliseconds', uuid_extract_timestamp(f.id)) as at,
        jsonb_set(${plan}, '{issuanceId}', to_jsonb(f.id)) as plan
      from pattern i cross join lateral (select * from fresh) f
    ), issued as (
      insert into issuance select ${columns} from pattern i cross join n 
      returning id, intended_at, task_id, not_after, reach, ends_by
    )
    insert into work (id, kind, lane, task_id, intended_at, state, due_at, not_after, reach, ends_by)
    select id, 'issuance', $1, task_id, intended_at, 'delivered', not_after + interval '1 minute', not_after, reach, ends_by
    from issued`;
}

/** Gives that many of what is outstanding at a cloud a task each, open and of this subject: copies of a real one. */
export async function adopt(
  bench: ReaperBench,
  { cloud, count, subject }: { cloud: Cloud; count: number; subject: string },
): Promise<void> {
  const columns = async (table: string, changed: Readonly<Record<string, string>>) => {
    const rows = await bench.sql(
      `select column_name as name from information_schema.columns where table_schema = 'public' and table_name = $1
       order by ordinal_position`,
      [table],
    );
    return rows.map(({ name }) => changed[String(name)] ?? `x.${String(name)}`).join();
  };
  const of = { id: 'w.task_id', workload_subject: '$2', opened_at: 'clock_timestamp()', parent_id: 'null' };
  const later = `clock_timestamp() + interval '50 minutes'`;
  const task = await columns('task', {
    ...of,
    ...{ state: `'open'`, state_reason: 'null', outcome: 'null', ended_at: 'null' },
    ...{ ref: 'null', lease_until: later, expires_at: later, stored_at: 'clock_timestamp()' },
  });
  const grant = await columns('task_grant', {
    ...{ id: 'gen_random_uuid()', task_id: 'w.task_id', state: `'active'`, ended_at: 'null' },
  });
  await bench.sql(
    `with w as materialized (
       select task_id from work where lane = $1 and state = 'delivered' order by id limit $3
     ), pattern as materialized (select * from task where template = 'reaped' order by id limit 1
     ), tasks as (insert into task select ${task} from pattern x cross join w
     ), grants as (
       insert into task_grant select ${grant} from task_grant x cross join w where x.task_id = (select id from pattern)
     )
     insert into work (id, kind, task_id, state, due_at) select task_id, 'task', task_id, 'task', ${later} from w`,
    [lanes[cloud], subject, count],
  );
  // As autovacuum does within a minute: statements were planned while there were few tasks.
  await bench.sql('analyze task, task_grant, work');
}
