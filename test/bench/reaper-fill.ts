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
