import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startReplica } from './replica.ts';
import { s3Status } from './s3.ts';
import { form, opening, startWorld, until, type World } from './world.ts';

/**
 * A made-up next release: what its migration may do (packages/store/src/migrations.test.ts), to the tables and functions
 * that an exchange and its end use, while a broker of this release serves.
 */
const next = `
  alter table task add column made_up text;
  alter table task_grant add column made_up integer not null default 0;
  alter table work add column made_up timestamptz;
  create table made_up (id uuid primary key, task_id uuid references task (id));
  grant select, insert on made_up to mayfly_app;
  create function made_up() returns trigger language plpgsql as $$ begin insert into made_up values (new.id, new.id); return new; end $$;
  create trigger made_up after insert on task for each row execute function made_up();
  insert into _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count)
    values ('made-up', 'made-up', '9999_made_up', now(), 1);`;

let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 60_000);

afterAll(() => world.stop());

async function exchangeAndEnd(url: string, ref: string): Promise<readonly unknown[]> {
  const body = new URLSearchParams(form(await world.workload(), opening(ref)));
  const answer = await fetch(`${url}/token`, { method: 'POST', body });
  // biome-ignore lint/suspicious/noExplicitAny: the body of one route
  const given: any = await answer.json();
  if (answer.status !== 200) return [answer.status, given.reason];
  const opens = await s3Status(world, given.access_token, '2026q3/a.pdf');
  const ended = await fetch(`${url}/v1/tasks/${given.issuance.task}/end`, {
    method: 'POST',
    headers: { authorization: `Bearer ${given.task_token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ outcome: 'completed' }),
  });
  const status = () => s3Status(world, given.access_token, '2026q3/a.pdf');
  return [answer.status, opens, ended.status, await until(status, (one) => one === 403)];
}

const whole = [200, 200, 200, 403];

test('this release goes on serving while the schema of the next one is applied, and starts on it', async () => {
  expect(await exchangeAndEnd(world.url, 'up-0')).toEqual(whole);
  let migrated = false;
  const load = Array.from({ length: 4 }, async (_, client) => {
    const seen: (readonly unknown[])[] = [];
    for (let n = 0; !migrated || n < 4; n += 1)
      seen.push(await exchangeAndEnd(world.url, `up-${client}-${n}`));
    return seen;
  });
  const owner = new pg.Client({ connectionString: world.running.databaseUrls.owner ?? '' });
  await owner.connect();
  await owner.query(`begin; ${next} commit;`);
  migrated = true;
  const seen = (await Promise.all(load)).flat();
  expect(seen.length).toBeGreaterThanOrEqual(16);
  expect(new Set(seen.map((one) => one.join()))).toEqual(new Set([whole.join()]));
  const replica = await startReplica(world);
  try {
    expect(await exchangeAndEnd(replica.url, 'up-last')).toEqual(whole);
    const { rows } = await owner.query('select count(*)::int as n from made_up');
    expect(rows[0].n).toBeGreaterThan(0);
  } finally {
    await replica.stop();
    await owner.end();
  }
}, 60_000);
