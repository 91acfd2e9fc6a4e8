import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  algorithmsOf,
  type Config,
  configSchema,
  createClockWatch,
  createLog,
  inspectProviders,
  isKekOpenToAll,
  loadKeys,
  nextRotations,
  signingPurposes,
  startBroker,
} from '@mayfly/broker';
import { migrate } from '@mayfly/store';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail } from '../exit.ts';
import { load, withStore } from '../installation.ts';
import { parseFormat, printOne, printRows } from '../print.ts';
import { bootstrap } from './bootstrap.ts';

/** A rotation that is overdue by this says that no replica is running, or that all fail at it. */
const rotationGraceMs = 600_000;

interface ServeFlags {
  readonly config?: string;
  readonly role: string;
}

export function registerServer(program: Command): void {
  const withConfig = (command: Command) =>
    command.option('--config <file>', 'mayfly.yaml (default: MAYFLY_CONFIG)');
  withConfig(program.command('serve').description('runs the broker'))
    .option('--role <role>', 'all, api or worker', 'all')
    .action((flags: ServeFlags) => serve(flags));
  withConfig(
    program
      .command('migrate')
      .description('applies the migrations with the owner’s login (MAYFLY_MIGRATE_DATABASE_URL)'),
  )
    .option('--plan', 'only say what would be applied')
    .action((flags: { config?: string; plan?: boolean }) => runMigrate(flags));
  withConfig(
    program
      .command('doctor')
      .description('checks database, keys, clock, policy and providers of this installation'),
  )
    .option('-o, --output <format>', 'table or json', 'table')
    .action((flags: { config?: string; output: string }) => doctor(flags));
  withConfig(
    program
      .command('bootstrap')
      .description('makes the first admin, on the server, from an issuer that is already trusted'),
  )
    .requiredOption('--issuer <name>', 'TrustedIssuer with people: true')
    .requiredOption('--subject <subject>', 'its subject')
    .action((flags: { config?: string; issuer: string; subject: string }) => bootstrap(flags));
  const config = program.command('config').description('configuration of the broker');
  withConfig(config.command('print').description('the configuration in force, secrets left out'))
    .option('--redacted', 'accepted for clarity; secrets are always left out')
    .action((flags: { config?: string }) => printOne(redacted(load(flags)), 'yaml'));
  config
    .command('schema')
    .description('JSON Schema of mayfly.yaml')
    .action(() =>
      console.log(
        JSON.stringify(z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }), null, 2),
      ),
    );
  program
    .command('version')
    .description('version of this program')
    .option('-o, --output <format>', 'table or json', 'table')
    .action(({ output }) => {
      const file = fileURLToPath(new URL('../../package.json', import.meta.url));
      const version = String(JSON.parse(readFileSync(file, 'utf8')).version);
      printOne({ mayfly: version, node: process.versions.node }, parseFormat(output));
    });
}

async function serve(flags: ServeFlags): Promise<void> {
  const { role } = flags;
  if (role !== 'all' && role !== 'api' && role !== 'worker') fail(2, '--role: all, api or worker');
  const config = load(flags);
  const log = createLog({ level: config.logLevel, file: config.logFile });
  const running = await startBroker({ config, env: process.env, environment: 'production', role, log });
  const { strongerLogin } = await running.broker.store.status();
  const insecure = [
    ...config.insecure,
    ...(strongerLogin === null ? [] : [`databaseLogin:${strongerLogin}`]),
    ...(isKekOpenToAll(config) ? ['keyEncryptionKey: readable by every user of this machine'] : []),
  ];
  const says = { issuer: config.issuer, ops: running.opsUrl, role, insecure };
  if (insecure.length > 0) log.warn(says, 'serving, with weakened settings');
  else log.info(says, 'serving');
  const signal = await new Promise<string>((resolve) => {
    for (const one of ['SIGINT', 'SIGTERM'] as const) process.once(one, () => resolve(one));
  });
  log.info({ signal }, 'draining');
  await running.stop();
  log.info('stopped');
}

async function runMigrate(flags: { config?: string; plan?: boolean }): Promise<void> {
  const config = load(flags);
  const url =
    config.migrateDatabaseUrl ??
    config.databaseUrl ??
    fail(2, 'migrate needs DATABASE_URL; the embedded database is migrated at start');
  const { applied, pending } = await migrate(url, { plan: flags.plan ?? false });
  for (const name of applied) console.log(`applied ${name}`);
  for (const name of pending) console.log(`pending ${name}`);
  if (applied.length + pending.length === 0) console.error('nothing to do');
}

async function doctor(flags: { config?: string; output: string }): Promise<void> {
  const config = load(flags);
  const checks = await withStore(config, async (store, kek) => {
    const status = await store.status();
    const { recovery } = await store.recovery.state();
    const { ring } = await loadKeys(store, kek);
    const { epoch, documents } = await store.documents.load();
    const clock = createClockWatch({
      databaseNow: store.databaseNow,
      now: () => new Date(),
      skewMs: config.clockSkew,
      report: () => undefined, // It is in the table.
    });
    await clock.look();
    const now = new Date();
    return [
      { check: 'database', ok: true, says: `PostgreSQL ${status.serverVersion}` },
      {
        check: 'database login',
        ok: status.strongerLogin === null,
        says:
          status.strongerLogin === null
            ? 'member of mayfly_app'
            : `${status.strongerLogin} could change what it must not; serve as a member of mayfly_app`,
      },
      {
        check: 'recovery',
        ok: recovery === null,
        says: recovery === null ? 'not needed, as far as is known' : `${recovery}: run mayfly recover`,
      },
      {
        check: 'clock',
        ok: clock.isTrusted(),
        says: `${clock.offsetSeconds().toFixed(3)} s off the database's`,
      },
      ...signingPurposes.flatMap((purpose) =>
        algorithmsOf[purpose].map((alg) => ({
          check: `key ${purpose}`,
          ok: true,
          says: `${alg} ${ring.signer(purpose, now, alg).kid}`,
        })),
      ),
      ...nextRotations(await store.keys.list(), config.keyRotation).map(({ purpose, alg, publishAt }) => ({
        check: `rotation ${purpose}`,
        // Late by more than any replica's pause: nobody rotates.
        ok: now.getTime() < publishAt.getTime() + rotationGraceMs,
        says: `next ${alg} key published at ${publishAt.toISOString()}`,
      })),
      {
        check: 'policy',
        ok: true,
        says: `epoch ${epoch}, ${documents.length} documents, all rows authentic`,
      },
      signInCheck(config, documents),
      ...(await inspectProviders({ config, store, ring, env: process.env })).map(
        ({ provider, subject, ok, says }) => ({
          check: `provider ${provider}: ${subject}`,
          ok,
          says,
        }),
      ),
    ];
  });
  printRows(checks, { format: parseFormat(flags.output), columns: ['check', 'ok', 'says'] });
  if (checks.some(({ ok }) => !ok)) process.exitCode = 1;
}

function signInCheck(
  { signInIssuer: name }: Config,
  documents: readonly { readonly kind: string; readonly name: string; readonly body: object }[],
) {
  const check = 'sign-in';
  if (name === undefined) return { check, ok: true, says: 'off (signInIssuer is not set)' };
  const issuer = documents.find((one) => one.kind === 'TrustedIssuer' && one.name === name);
  if (issuer === undefined) return { check, ok: false, says: `no TrustedIssuer ${name}` };
  const people = Reflect.get(Object(Reflect.get(issuer.body, 'spec')), 'people') === true;
  return { check, ok: people, says: people ? `through ${name}` : `${name} does not say people: true` };
}

function redacted(config: Config): Record<string, unknown> {
  const url = (text: string | undefined) =>
    text === undefined ? null : text.replace(/\/\/[^@/]*@/, '//[secret]@');
  return {
    ...config,
    databaseUrl: url(config.databaseUrl),
    migrateDatabaseUrl: url(config.migrateDatabaseUrl),
  };
}
