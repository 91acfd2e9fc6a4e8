import { expect } from '@jest/globals';
import pg from 'pg';
import type { World } from '../e2e/world.ts';

/** Where a transaction can be held: after its row of the issuance, of the task, ... was written. */
export type Point = 'intend' | 'open' | 'close' | 'take back' | 'deliver';

export interface Race {
  /** `first` is held at `point`, `second` then runs into it, and `first` goes on. */
  race<A, B>(point: Point, first: () => Promise<A>, second: () => Promise<B>): Promise<[A, B]>;
  /** `first` is held at `point` while `second`, which nothing of it makes wait, is done; then `first` goes on. */
  meanwhile<A, B>(point: Point, first: () => Promise<A>, second: () => Promise<B>): Promise<[A, B]>;
  until(holds: () => Promise<boolean>): Promise<void>;
  close(): Promise<void>;
}

const lock = 4_711;
const secondsMax = 10;

/** Triggers that hold a transaction open in its middle: they wait for an advisory lock that the test holds. */
export async function startRace(world: World): Promise<Race> {
  const control = new pg.Client({ connectionString: world.running.databaseUrls.owner ?? '' });
  await control.connect();
  await control.query(`create table race_pause (point text primary key);
    grant select on race_pause to mayfly_app;
    create function race_pause() returns trigger language plpgsql as $$
    begin
      if exists (select from race_pause where point = tg_argv[0]) then perform pg_advisory_xact_lock(${lock}); end if;
      return null;
    end $$;
    grant execute on function race_pause() to mayfly_app;
    create trigger race_intend after insert on issuance for each row execute function race_pause('intend');
    create trigger race_open after insert on task for each row execute function race_pause('open');
    create trigger race_close after update on task for each row
      when (new.state <> old.state) execute function race_pause('close');
    create trigger race_take_back after update on work for each row
      when (new.state in ('revoking', 'reaped') and new.state <> old.state) execute function race_pause('take back');
    create trigger race_deliver after update on work for each row
      when (new.state = 'delivered') execute function race_pause('deliver');`);
  const waiting = async (kind: 'advisory' | 'other'): Promise<number> => {
    const { rows } = await control.query<{ n: number }>(
      `select count(*)::int n from pg_locks where not granted and (locktype = 'advisory') = $1`,
      [kind === 'advisory'],
    );
    return rows[0]?.n ?? 0;
  };
  const hold = async <A>(point: Point, first: () => Promise<A>) => {
    await control.query('select pg_advisory_lock($1)', [lock]);
    await control.query('insert into race_pause values ($1)', [point]);
    const held = first();
    await until(async () => (await waiting('advisory')) > 0);
    await control.query('delete from race_pause');
    return { held };
  };
  const letGo = () => control.query('select pg_advisory_unlock($1)', [lock]);
  return {
    race: async (point, first, second) => {
      const { held: a } = await hold(point, first);
      let done = false;
      const b = second().finally(() => {
        done = true;
      });
      await until(async () => done || (await waiting('other')) > 0);
      // The second was made to wait: had it gone through beside an open transaction, there would be nothing to decide.
      expect(done).toBe(false);
      await letGo();
      return Promise.all([a, b]);
    },
    meanwhile: async (point, first, second) => {
      const { held } = await hold(point, first);
      try {
        const b = await second();
        await letGo();
        return [await held, b];
      } catch (error) {
        await letGo();
        throw error;
      }
    },
    until,
    close: () => control.end(),
  };
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + secondsMax * 1000;
  while (!(await holds())) if (Date.now() > deadline) throw new Error('the other side did not come so far');
}
