import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { reaperPass, watchDenials } from '@mayfly/broker';
import { migrate } from '@mayfly/store';
import { type ExternalPostgres, sql, startSystemPostgres, systemPostgres } from './postgres.ts';
import { startReplica } from './replica.ts';
import { s3Status } from './s3.ts';
import {
  type Answer,
  form,
  jwtType,
  opening,
  startWorld,
  tokenExchange,
  until,
  type World,
} from './world.ts';

const bin = systemPostgres();
if (bin === undefined)
  console.log('skipped: no pg_dump, for no PostgreSQL >= 15 of the system’s packages is installed');

/** Ends that the restored database has forgotten; each of them is asked of the cloud again. */
const ends = 1_000;
const parallel = 16;
/** Of them, so many of the last ones are asked again and again: each costs a client of its own. */
const sample = 100;
const main = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));

(bin === undefined ? describe.skip : describe)(
  'a dump from before a thousand ends, restored under two replicas',
  () => {
    let database: ExternalPostgres;
    let dir: string;
    let world: World;
    let replica: Awaited<ReturnType<typeof startReplica>>;
    const tasks: { task: string; token: string; keys: string }[] = [];

    beforeAll(async () => {
      dir = mkdtempSync(join(tmpdir(), 'mayfly-recovery-'));
      database = await startSystemPostgres(bin ?? '');
      await migrate(database.ownerUrl);
      writeFileSync(join(dir, 'kek'), randomBytes(32).toString('base64'), { mode: 0o600 });
      const edit = (text: string) =>
        text
          .replace(/perMinute: \d+/g, 'perMinute: 100000')
          .replace(/(maxOpen|opensPerHour): \d+/g, '$1: 100000');
      const settings = { reapInterval: '100ms', dataDir: dir };
      world = await startWorld({
        databaseUrl: database.appUrl,
        keyEncryptionKey: join(dir, 'kek'),
        edit,
        settings,
      });
      replica = await startReplica(world, {
        keyEncryptionKey: join(dir, 'kek'),
        dataDir: join(dir, 'replica'),
      });
    }, 120_000);

    afterAll(async () => {
      await replica.stop();
      await world.stop();
      await database.stop();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    async function each<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
      const left = [...items];
      const work = async () => {
        for (let item = left.shift(); item !== undefined; item = left.shift()) await run(item);
      };
      await Promise.all(Array.from({ length: parallel }, work));
    }

    const askReplica = async (fields: Record<string, string>): Promise<Pick<Answer, 'status' | 'body'>> => {
      const answer = await fetch(`${replica.url}/token`, {
        method: 'POST',
        body: new URLSearchParams(fields),
      });
      return { status: answer.status, body: await answer.json() };
    };
    const refused = { status: 503, body: { error: 'temporarily_unavailable', reason: 'recovery_required' } };
    /** What S3 answers to keys that were ended: those that live yet are refused (403), the others have expired (400). */
    const statuses = async (of = tasks.slice(-sample)) => {
      const seen = new Map<number, number>();
      await each(of, async ({ keys }) => {
        const status = await s3Status(world, keys, '2026q3/a.pdf');
        seen.set(status, (seen.get(status) ?? 0) + 1);
      });
      return Object.fromEntries(seen);
    };
    const url = (target: string) => new URL(target);
    function pg(program: 'pg_dump' | 'pg_restore' | 'psql', args: readonly string[]): void {
      const { hostname, port, username, password } = url(database.ownerUrl);
      execFileSync(
        join(bin ?? '', program),
        program === 'pg_restore' ? args : ['-h', hostname, '-p', port, '-U', username, ...args],
        {
          env: { PGPASSWORD: password },
          stdio: ['ignore', 'ignore', 'pipe'],
        },
      );
    }
    const recover = (...args: string[]) =>
      new Promise<{ code: number; out: string; err: string }>((resolve) => {
        const env = {
          PATH: process.env['PATH'] ?? '',
          DATABASE_URL: database.appUrl,
          MAYFLY_KEY_ENCRYPTION_KEY: join(dir, 'kek'),
          MAYFLY_ISSUER: world.url,
        };
        const argv = ['--disable-warning=ExperimentalWarning', main, 'recover', ...args];
        execFile(process.execPath, argv, { env, cwd: dir }, (error, out, err) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? 99), out, err }),
        );
      });

    test('nothing is wrong with a database that only goes on', async () => {
      const { body } = await world.exchange(form(await world.workload(), opening('before')));
      expect(body.issuance.task).toMatch(/^tsk_/);
      await replica.stop();
      replica = await startReplica(world, {
        keyEncryptionKey: join(dir, 'kek'),
        dataDir: join(dir, 'replica'),
      });
      expect((await askReplica(form(await world.workload(), opening('again')))).status).toBe(200);
      expect(await recover()).toMatchObject({ code: 1, err: expect.stringContaining('--force') });
      const { mark } = JSON.parse(readFileSync(join(dir, 'replica', 'high-water.json'), 'utf8'));
      expect(mark).toBeGreaterThan(1);
    }, 60_000);

    test('a thousand credentials are given, dumped, and ended at the cloud', async () => {
      await each(
        Array.from({ length: ends }, (_, n) => n),
        async (n) => {
          const { body } = await world.exchange(form(await world.workload(), opening(`run-${n}`)));
          tasks.push({ task: body.issuance.task, token: body.task_token, keys: body.access_token });
        },
      );
      pg('pg_dump', ['-Fc', '-f', join(dir, 'dump'), 'broker']);
      // One more step than the dump knows; a moment later each replica has one by itself.
      await watchDenials(world.running.broker, 0);
      await each(tasks, async ({ task, token }) => {
        const { status } = await world.api('POST', `/v1/tasks/${task}/end`, { bearer: token });
        expect(status).toBe(200);
      });
      for (let left = ends; left > 0; ) {
        await reaperPass(world.running.broker);
        [{ n: left }] = (await sql(
          database.ownerUrl,
          'select count(*)::int as n from work where requested_at is not null',
        )) as [{ n: number }];
      }
      expect((await statuses())[200]).toBeUndefined();
    }, 180_000);

    test('once it is restored under them, neither replica gives anything, and what was denied stays so', async () => {
      const assertion = await world.workload();
      pg('pg_restore', ['-f', join(dir, 'dump.sql'), join(dir, 'dump')]);
      // In one transaction, and no connection is cut: nothing but what they are answered tells the replicas.
      const anew = [
        'drop schema public cascade',
        'create schema public',
        'grant usage on schema public to public',
      ];
      const words = anew.flatMap((statement) => ['-c', statement]);
      pg('psql', [
        '-q',
        '-1',
        '-v',
        'ON_ERROR_STOP=1',
        ...words,
        '-f',
        join(dir, 'dump.sql'),
        '-d',
        'broker',
      ]);
      expect(await world.exchange(form(await world.workload(), opening('later')))).toMatchObject(refused);
      expect(await askReplica(form(await world.workload(), opening('later')))).toMatchObject(refused);
      const [one] = tasks;
      const again = await world.exchange({
        ...{ grant_type: tokenExchange, subject_token: assertion, subject_token_type: jwtType },
        authorization_details: JSON.stringify([
          {
            type: 'mayfly_tool_call',
            task: one?.task,
            tool: 's3.read',
            identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf',
          },
        ]),
      });
      expect(again).toMatchObject(refused);
      const ready = await (await fetch(`${world.running.opsUrl}/readyz`)).json();
      expect(ready).toMatchObject({ ready: true });
      // An end goes on, and writes a document from rows that know of no other.
      expect(
        (await world.api('POST', `/v1/tasks/${one?.task}/end`, { bearer: one?.token ?? '' })).status,
      ).toBe(200);
      await reaperPass(world.running.broker);
      await watchDenials(world.running.broker, 0);
      const seen = await statuses();
      expect(seen[200]).toBeUndefined();
      expect(seen[403]).toBeGreaterThan(0);
    }, 120_000);

    test('mayfly recover ends all of it, and issuing goes on for who comes anew', async () => {
      const old = await world.workload();
      const dry = await recover('--dry-run');
      expect([dry.code, dry.out]).toEqual([0, expect.stringContaining('open tasks')]);
      await new Promise((resolve) => setTimeout(resolve, 1_100)); // The second of an `iat` is over.
      // Marked for everybody, and for who recovers, by the next look of either replica.
      await until(
        () => sql(database.ownerUrl, 'select recovery from config_epoch'),
        ([row]) => row?.['recovery'] === 'older',
      );
      const done = await recover();
      expect([done.code, done.err.replace(/^\d+ tasks ended\n/gm, '')]).toEqual([0, '']);
      expect(done.out).toMatch(/recovered {3}\d+ tasks ended/);
      expect(
        await sql(database.ownerUrl, "select from task where state in ('open', 'suspended')"),
      ).toHaveLength(0);
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      for (const ask of [world.exchange, askReplica]) {
        expect(await ask(form(old, opening('after')))).toMatchObject({
          status: 400,
          body: { reason: 'assertion_replayed' },
        });
        const fresh = await ask(form(await world.workload(), opening('after')));
        expect([fresh.status, fresh.body.reason]).toEqual([200, undefined]);
      }
      await reaperPass(world.running.broker);
      await watchDenials(world.running.broker, 0);
      expect((await statuses())[200]).toBeUndefined();
      const types = await sql(
        database.ownerUrl,
        `select type from audit_entry where type like 'installation.%' order by at`,
      );
      expect(types.map(({ type }) => type)).toEqual([
        'installation.recovery_required',
        'installation.recovered',
      ]);
    }, 180_000);
  },
);
