import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type LocalIssuer, startIssuer } from '@mayfly/standins';
import { decodeProtectedHeader } from 'jose';
import { bundle } from './external-bundle.ts';
import {
  type ExternalPostgres,
  sql,
  startEmbeddedAsExternal,
  startSystemPostgres,
  systemPostgres,
} from './postgres.ts';
import { accessTokenType, form, freePort } from './world.ts';

const main = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
const system = systemPostgres();
if (system === undefined)
  console.log('skipped: no PostgreSQL >= 15 of the system’s packages; only 18 from npm was tried');

const kinds: readonly (readonly [string, () => Promise<ExternalPostgres>])[] = [
  ['PostgreSQL 18 from npm', startEmbeddedAsExternal],
  ...(system === undefined
    ? []
    : [['the oldest PostgreSQL of this system', () => startSystemPostgres(system)] as const]),
];

describe.each(kinds)('%s by DATABASE_URL', (_, startPostgres) => {
  let database: ExternalPostgres;
  let workloads: LocalIssuer;
  let people: LocalIssuer;
  let dir: string;
  const running: { process: ChildProcess; url: string; ops: string }[] = [];

  beforeAll(async () => {
    database = await startPostgres();
    workloads = await startIssuer({ assertionBearer: 'x' });
    people = await startIssuer({ assertionBearer: 'x' });
    dir = mkdtempSync(join(tmpdir(), 'mayfly-external-'));
    writeFileSync(join(dir, 'kek'), randomBytes(32).toString('base64'));
    mkdirSync(join(dir, 'bundle'));
    writeFileSync(join(dir, 'bundle', 'all.yaml'), bundle(workloads.issuer, people.issuer));
  }, 60_000);

  afterAll(async () => {
    for (const { process: child } of running) await stopped(child);
    await workloads.close();
    await people.close();
    await database.stop();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const settings = (more: Record<string, string> = {}) => ({
    PATH: process.env['PATH'] ?? '',
    DATABASE_URL: database.appUrl,
    MAYFLY_MIGRATE_DATABASE_URL: database.ownerUrl,
    MAYFLY_KEY_ENCRYPTION_KEY: join(dir, 'kek'),
    MAYFLY_ALLOW_LOOPBACK_ISSUERS: `${workloads.issuer},${people.issuer}`,
    MAYFLY_LOG_LEVEL: 'warn',
    ...more,
  });

  function mayfly(args: readonly string[], more: Record<string, string> = {}) {
    return new Promise<{ code: number; out: string; err: string }>((resolve) => {
      const argv = ['--disable-warning=ExperimentalWarning', main, ...args];
      execFile(process.execPath, argv, { env: settings(more), cwd: dir }, (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 99), out, err });
      });
    });
  }

  async function serve(more: Record<string, string> = {}) {
    const [port, opsPort] = [await freePort(), await freePort()];
    // Every replica speaks as the first one's issuer.
    const issuer = running[0]?.url ?? `http://127.0.0.1:${port}`;
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, 'serve'], {
      cwd: dir,
      env: settings({
        MAYFLY_LISTEN: `127.0.0.1:${port}`,
        MAYFLY_OPS_LISTEN: `127.0.0.1:${opsPort}`,
        MAYFLY_ISSUER: issuer,
        MAYFLY_BUNDLE: join(dir, 'bundle'),
        ...more,
      }),
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const replica = { process: child, url: `http://127.0.0.1:${port}`, ops: `http://127.0.0.1:${opsPort}` };
    running.push(replica);
    const deadline = Date.now() + 20_000;
    for (;;) {
      const ready = await fetch(`${replica.ops}/readyz`).catch(() => undefined);
      if (ready?.status === 200) return replica;
      if (Date.now() > deadline || child.exitCode !== null) throw new Error('the replica did not get ready');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  const audience = () => running[0]?.url ?? '';
  const workload = (subject = 'agent') => workloads.assertion({ subject, audience: audience() });
  const person = (subject = 'root@corp.example') => people.assertion({ subject, audience: audience() });

  async function api(url: string, path: string, bearer: string, json?: unknown) {
    const answer = await fetch(`${url}${path}`, {
      method: json === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    });
    return { status: answer.status, body: Object(await answer.json()) };
  }

  async function exchange(url: string, fields: Record<string, string>) {
    const answer = await fetch(`${url}/token`, { method: 'POST', body: new URLSearchParams(fields) });
    return { status: answer.status, body: Object(await answer.json()) };
  }

  const detail = { tool: 'report.post', identifier: 'https://reports.example/x' };
  const opening = (ref: string) => ({ ...detail, task: { template: 'report', ref } });

  test('serve refuses a database without the migrations, and says what to run', async () => {
    const { code, err } = await mayfly(['serve']);
    expect([code, err]).toEqual([2, expect.stringContaining('run `mayfly migrate`')]);
  });

  test('migrate plans, applies with the owner’s login, and then has nothing to do', async () => {
    const names = ['0001_tables', '0002_functions', '0003_views_and_grants', '0004_sign_in'];
    const planned = await mayfly(['migrate', '--plan']);
    expect(planned.out.trim().split('\n')).toEqual(names.map((name) => `pending ${name}`));
    const [one, other] = await Promise.all([mayfly(['migrate']), mayfly(['migrate'])]);
    expect([one.code, other.code]).toEqual([0, 0]);
    expect(`${one.out}${other.out}`.trim().split('\n').sort()).toEqual(
      names.map((name) => `applied ${name}`),
    );
    expect(await mayfly(['migrate'])).toMatchObject({ code: 0, out: '' });
    const asApp = await mayfly(['migrate'], { MAYFLY_MIGRATE_DATABASE_URL: database.appUrl });
    expect(asApp.code).not.toBe(0);
  });

  test('the ledger has the columns and checksums that Prisma keeps', async () => {
    const { createHash } = await import('node:crypto');
    const rows = await sql(database.ownerUrl, 'select * from _prisma_migrations order by migration_name');
    for (const row of rows) {
      const file = new URL(`../../prisma/migrations/${row['migration_name']}/migration.sql`, import.meta.url);
      expect(row['checksum']).toBe(createHash('sha256').update(readFileSync(file)).digest('hex'));
      expect([row['applied_steps_count'], row['rolled_back_at']]).toEqual([1, null]);
    }
    expect(rows).toHaveLength(4);
  });

  test('an edited migration stops migrate', async () => {
    await sql(
      database.ownerUrl,
      `update _prisma_migrations set checksum = 'x' where migration_name = '0001_tables'`,
    );
    const { code, err } = await mayfly(['migrate']);
    expect([code, err]).toEqual([2, expect.stringContaining('was edited after it was applied')]);
    const { createHash } = await import('node:crypto');
    const file = new URL('../../prisma/migrations/0001_tables/migration.sql', import.meta.url);
    const checksum = createHash('sha256').update(readFileSync(file)).digest('hex');
    await sql(
      database.ownerUrl,
      `update _prisma_migrations set checksum = '${checksum}' where migration_name = '0001_tables'`,
    );
  });

  test('the app’s login changes no issuance and no audit row and owns nothing, the auditor’s reads views only', async () => {
    const rights = await sql(
      database.ownerUrl,
      `select c.relname, r.role, p.privilege from pg_class c
       cross join (values ('mayfly_app'), ('mayfly_auditor')) r(role)
       cross join (values ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) p(privilege)
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
         and has_table_privilege(r.role, c.oid, p.privilege)`,
    );
    const of = (role: string, privilege?: string) =>
      new Set(
        rights
          .filter(
            (row) => row['role'] === role && (privilege === undefined || row['privilege'] === privilege),
          )
          .map((row) => String(row['relname'])),
      );
    for (const privilege of ['UPDATE', 'DELETE', 'TRUNCATE'])
      for (const table of of('mayfly_app', privilege))
        expect(table).not.toMatch(/^(issuance|audit_entry|document$)/);
    for (const privilege of ['TRUNCATE', 'REFERENCES', 'TRIGGER'])
      expect([...of('mayfly_app', privilege)]).toEqual([]);
    expect([...of('mayfly_auditor')].sort()).toEqual([
      'mayfly_audit_v1',
      'mayfly_grants_v1',
      'mayfly_issuances_v1',
      'mayfly_tasks_v1',
    ]);
    const owned = await sql(
      database.ownerUrl,
      `select from pg_class c join pg_roles r on r.oid = c.relowner where r.rolname in ('mayfly_app', 'mayfly_auditor', 'serve')`,
    );
    expect(owned).toEqual([]);
    const definers = await sql(
      database.ownerUrl,
      `select proname, proconfig from pg_proc where pronamespace = 'public'::regnamespace and prosecdef order by 1`,
    );
    expect(definers.map(({ proname }) => proname)).toEqual(['drop_partitions', 'ensure_partitions']);
    // Without a fixed search_path a definer's function runs whatever the caller puts first.
    for (const { proconfig } of definers) expect(String(proconfig)).toContain('search_path=public, pg_temp');
    const executable = await sql(
      database.ownerUrl,
      `select proname from pg_proc where pronamespace = 'public'::regnamespace and has_function_privilege('mayfly_auditor', oid, 'execute')`,
    );
    expect(executable).toEqual([]);
    await expect(sql(database.appUrl, `delete from audit_entry`)).rejects.toThrow('permission denied');
    await expect(sql(database.appUrl, `update issuance set reason = 'x'`)).rejects.toThrow(
      'permission denied',
    );
  });

  test('serve starts, is ready, and names no weakness beside the loopback issuers', async () => {
    const replica = await serve();
    const ready = Object(await (await fetch(`${replica.ops}/readyz`)).json());
    expect(ready).toEqual({ ready: true, problem: null, insecure: ['allowLoopbackIssuers'] });
  });

  test('bootstrap makes the first admin only of an issuer of people, and that admin can work', async () => {
    expect((await api(audience(), '/v1/freeze', await person())).body.reason).toBe('role_required');
    const of = async (subject: string, issuer = 'people') => {
      const ran = await mayfly(['bootstrap', '--issuer', issuer, '--subject', subject]);
      return [ran.code, ran.err];
    };
    expect(await of('x', 'nope')).toEqual([1, expect.stringContaining('no TrustedIssuer nope')]);
    expect(await of('agent', 'workloads')).toEqual([1, expect.stringContaining('not an issuer of people')]);
    expect(await of('root@other.example')).toEqual([1, expect.stringContaining('do not admit root@other')]);
    expect(await of('first@corp.example')).toEqual([0, '']);
    expect(await of('root@corp.example')).toEqual([0, expect.stringContaining('first@corp.example')]);
    expect((await api(audience(), '/v1/freeze', await person())).status).toBe(200);
    expect((await api(audience(), '/v1/freeze', await person('else@corp.example'))).status).toBe(403);
  });

  test('two replicas share one database: opened on one, used and ended on the other, dead on both', async () => {
    const [first, second] = [running[0], await serve()];
    if (first === undefined) throw new Error('no first replica');
    const opened = await exchange(first.url, form(await workload(), opening('shared')));
    expect(opened.status).toBe(200);
    const token = opened.body.task_token;
    const used = await exchange(second.url, form(token, detail, { subject_token_type: accessTokenType }));
    expect(used.status).toBe(200);
    const introspect = async (url: string) => {
      const body = new URLSearchParams({ token: used.body.access_token });
      const headers = { authorization: `Bearer ${await workload('server')}` };
      return Object(await (await fetch(`${url}/introspect`, { method: 'POST', body, headers })).json());
    };
    expect((await introspect(first.url)).active).toBe(true);
    const { task } = opened.body.issuance;
    const ended = await api(second.url, `/v1/tasks/${task}/end`, token, { outcome: 'completed' });
    expect(ended.body.state).toBe('completed');
    for (const { url } of [first, second]) {
      expect(await introspect(url)).toEqual({ active: false });
      const refused = await exchange(url, form(token, detail, { subject_token_type: accessTokenType }));
      expect(refused.body.reason).toBe('task_ended');
    }
  });

  test('one assertion sent to two replicas at once, twenty times, mints once', async () => {
    const once = await workload();
    const urls = Array.from({ length: 20 }, (_, index) => running[index % 2]?.url ?? '');
    const answers = await Promise.all(urls.map((url) => exchange(url, form(once, opening('at-once')))));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const { status, body } of answers)
      if (status !== 200) expect(body.reason).toBe('assertion_replayed');
  });

  test('a freeze on one replica stops the other at its next exchange', async () => {
    const [first, second] = running;
    if (first === undefined || second === undefined) throw new Error('no two replicas');
    await api(second.url, '/v1/freeze', await person(), { reason: 'INC-1' });
    const refused = await exchange(first.url, form(await workload(), opening('frozen')));
    expect([refused.status, refused.body.reason]).toEqual([503, 'frozen']);
    await api(first.url, '/v1/thaw', await person(), { reason: 'over' });
    expect((await exchange(second.url, form(await workload(), opening('frozen')))).status).toBe(200);
  });

  test('keys: rotated without a restart, listed without private parts, the next one published before it signs', async () => {
    const kids = async () => {
      const { keys } = Object(await (await fetch(`${audience()}/jwks`)).json());
      // ES256, which signs what this test looks at, first.
      keys.sort((left: { alg: string }, right: { alg: string }) => left.alg.localeCompare(right.alg));
      return keys.map(({ kid }: { kid: string }) => kid);
    };
    const before = await kids();
    const rotated = await mayfly(['keys', 'rotate', '--purpose', 'token']);
    const [next = '', other = ''] = rotated.out.split('\n').map((line) => line.split(' ')[0] ?? '');
    expect(new Set(await kids())).toEqual(new Set([...before, next, other]));
    const issued = await exchange(audience(), form(await workload(), opening('rotated')));
    expect(decodeProtectedHeader(issued.body.access_token).kid).toBe(before[0]);
    const { out } = await mayfly(['keys', 'list', '-o', 'json']);
    expect(out).not.toMatch(/wrapped|"d"|privateKey/);
    const states: string[] = JSON.parse(out).map(
      ({ purpose, alg, state }: Record<string, string>) => `${purpose} ${alg} ${state}`,
    );
    const tokens = ['ES256 current', 'ES256 next', 'RS256 current', 'RS256 next'].map(
      (one) => `token ${one}`,
    );
    const secrets = ['nonce', 'row-mac', 'sign-in-secret'].map((one) => `${one} HS256 current`);
    const signing = ['federation RS256 current', 'sign-in RS256 current'];
    expect(states.sort()).toEqual([...secrets, ...signing, ...tokens].sort());
    // Time passes for the next key: it signs, and what the last one signed is still accepted.
    await sql(database.ownerUrl, `update signing_key set active_from = now() where id = '${next}'`);
    await sql(database.ownerUrl, 'update config_epoch set epoch = epoch + 1');
    const later = await exchange(audience(), form(await workload(), opening('rotated')));
    expect(decodeProtectedHeader(later.body.access_token).kid).toBe(next);
    const byOld = form(issued.body.task_token, detail, { subject_token_type: accessTokenType });
    expect((await exchange(audience(), byOld)).status).toBe(200);
    const refused = await mayfly(['keys', 'retire', next]);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('rotate first')]);
    expect((await mayfly(['keys', 'retire', before[0], '--now'])).code).toBe(0);
    expect(new Set(await kids())).toEqual(new Set([...before.slice(1), next, other]));
    expect((await exchange(audience(), byOld)).body.reason).toBe('assertion_invalid');
    const events = await sql(
      database.ownerUrl,
      `select type from audit_entry where type like 'key.%' order by seq`,
    );
    const made = Array.from({ length: 7 }, () => 'key.made');
    const types = events.map(({ type }) => type);
    expect(types).toEqual([...made, 'key.rotated', 'key.rotated', 'key.retired']);
  });

  test('keys export writes the federation issuer’s files as they are served', async () => {
    const folder = join(dir, 'federation');
    expect((await mayfly(['keys', 'export', '--federation', folder])).code).toBe(0);
    const served = Object(await (await fetch(`${audience()}/federation/jwks`)).json());
    expect(JSON.parse(readFileSync(join(folder, 'jwks'), 'utf8'))).toEqual(served);
    const document = JSON.parse(readFileSync(join(folder, '.well-known/openid-configuration'), 'utf8'));
    expect(document.jwks_uri).toMatch(/\/federation\/jwks$/);
  });

  test('doctor is content with the app’s login, and fails a stronger one', async () => {
    const fine = await mayfly(['doctor', '-o', 'json']);
    expect([fine.code, JSON.parse(fine.out).every(({ ok }: { ok: boolean }) => ok)]).toEqual([0, true]);
    const strong = await mayfly(['doctor'], { DATABASE_URL: database.ownerUrl });
    expect([strong.code, strong.out]).toEqual([1, expect.stringContaining('could change what it must not')]);
  });

  test('another key-encryption key stops the start, and so does an absent database', async () => {
    writeFileSync(join(dir, 'other-kek'), randomBytes(32).toString('base64'));
    const wrong = await mayfly(['doctor'], { MAYFLY_KEY_ENCRYPTION_KEY: join(dir, 'other-kek') });
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('not the key under which')]);
    writeFileSync(join(dir, 'short-kek'), 'c2hvcnQ=');
    const short = await mayfly(['serve'], { MAYFLY_KEY_ENCRYPTION_KEY: join(dir, 'short-kek') });
    expect([short.code, short.err]).toEqual([2, expect.stringContaining('32 bytes in base64')]);
    const away = await mayfly(['serve'], {
      DATABASE_URL: `postgresql://x:y@127.0.0.1:${await freePort()}/z`,
    });
    expect([away.code, away.err]).toEqual([3, expect.stringContaining('ECONNREFUSED')]);
    expect(away.err).not.toContain('x:y');
  });

  test('a document row that somebody else wrote is never used', async () => {
    await sql(database.ownerUrl, `update document_active set set_name = 'mine' where name = 'report'`);
    await sql(database.ownerUrl, 'update config_epoch set epoch = epoch + 1');
    const refused = await exchange(audience(), form(await workload(), opening('tampered')));
    expect([refused.status, refused.body.reason]).toEqual([500, 'internal']);
    await sql(database.ownerUrl, `update document_active set set_name = 'bundle' where name = 'report'`);
    expect((await exchange(audience(), form(await workload(), opening('tampered')))).status).toBe(200);
  });

  test('partitions are made a week ahead, old ones are dropped, and the defaults stay empty', async () => {
    const names = async () =>
      (await sql(database.ownerUrl, `select inhrelid::regclass::text as name from pg_inherits`)).map((row) =>
        String(row['name']),
      );
    expect(
      (await names()).filter((name) => /^audit_entry_[0-9]{8}$/.test(name)).length,
    ).toBeGreaterThanOrEqual(8);
    await sql(
      database.ownerUrl,
      `create table audit_entry_20200101 partition of audit_entry for values from ('2020-01-01 00:00:00+00') to ('2020-01-02 00:00:00+00')`,
    );
    await sql(database.appUrl, 'select drop_partitions(90)');
    expect(await names()).not.toContain('audit_entry_20200101');
    for (const table of ['audit_entry', 'issuance', 'issuance_delivery', 'issuance_end'])
      expect(await sql(database.ownerUrl, `select from ${table}_default limit 1`)).toEqual([]);
  });

  test('SIGTERM ends every replica, with nothing left listening', async () => {
    for (const { process: child, url } of running) {
      expect(await stopped(child)).toBe(0);
      await expect(fetch(`${url}/jwks`)).rejects.toThrow();
    }
  });
});

function stopped(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve(child.exitCode);
    child.once('exit', (code) => resolve(code));
    child.kill('SIGTERM');
  });
}
