import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Config,
  configSchema,
  createLog,
  federationDocument,
  loadConfig,
  loadKeys,
  makeSigningKey,
  publishLeadMs,
  readInstallationKek,
  type SigningPurpose,
  signingPurposes,
  startBroker,
} from '@mayfly/broker';
import { createStore, findEmbedded, migrate, type Store, startEmbedded } from '@mayfly/store';
import type { Command } from 'commander';
import { z } from 'zod';
import { fail } from '../exit.ts';
import { parseFormat, printOne, printRows } from '../print.ts';

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
    program.command('doctor').description('checks database, keys, clock and policy of this installation'),
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
  registerKeys(program, withConfig);
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
    .action(() => {
      const file = fileURLToPath(new URL('../../package.json', import.meta.url));
      console.log(
        `mayfly ${String(JSON.parse(readFileSync(file, 'utf8')).version)} (node ${process.versions.node})`,
      );
    });
}

function load({ config }: { config?: string }, flags: Readonly<Record<string, unknown>> = {}): Config {
  return loadConfig({ file: config, env: process.env, flags });
}

async function serve(flags: ServeFlags): Promise<void> {
  const { role } = flags;
  if (role !== 'all' && role !== 'api' && role !== 'worker') fail(2, '--role: all, api or worker');
  const config = load(flags);
  const log = createLog({ level: config.logLevel, file: config.logFile });
  const running = await startBroker({ config, env: process.env, environment: 'production', role, log });
  log.info({ issuer: config.issuer, ops: running.opsUrl, role, insecure: config.insecure }, 'serving');
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

/** The store of an installation that is there: that of DATABASE_URL, or the embedded one, running or started for this. */
async function withStore<T>(config: Config, run: (store: Store, kek: Buffer) => Promise<T>): Promise<T> {
  const kek = readInstallationKek(config, { env: process.env, create: false });
  const { url, stop } = await databaseOf(config);
  const mac: { current?: (bytes: Uint8Array) => Buffer } = {};
  const store = createStore({
    url,
    connections: 2,
    reapAgeSeconds: config.reapAge / 1000,
    onError: (error) => console.error(error.message),
    rowMac: (bytes) => mac.current?.(bytes) ?? fail(3, 'keys are not loaded'),
  });
  try {
    mac.current = (await loadKeys(store, kek)).mac;
    return await run(store, kek);
  } finally {
    await store.close();
    await stop();
  }
}

async function databaseOf({
  databaseUrl,
  dataDir,
}: Config): Promise<{ url: string; stop(): Promise<unknown> }> {
  if (databaseUrl !== undefined) return { url: databaseUrl, stop: async () => undefined };
  if (!existsSync(join(dataDir, 'postgres')))
    fail(2, `no database in ${dataDir}; start \`mayfly serve\` once, or set DATABASE_URL`);
  const { appUrl, stop } = findEmbedded(dataDir) ?? (await startEmbedded({ dataDir, log: () => undefined }));
  return { url: appUrl, stop };
}

async function doctor(flags: { config?: string; output: string }): Promise<void> {
  const config = load(flags);
  const checks = await withStore(config, async (store, kek) => {
    const status = await store.status();
    const { ring } = await loadKeys(store, kek);
    const { epoch, documents } = await store.documents.load();
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
      ...signingPurposes.map((purpose) => ({
        check: `key ${purpose}`,
        ok: true,
        says: `${ring.signer(purpose, now).alg} ${ring.signer(purpose, now).kid}`,
      })),
      {
        check: 'policy',
        ok: true,
        says: `epoch ${epoch}, ${documents.length} documents, all rows authentic`,
      },
    ];
  });
  printRows(checks, { format: parseFormat(flags.output), columns: ['check', 'ok', 'says'] });
  if (checks.some(({ ok }) => !ok)) process.exitCode = 1;
}

/** A RoleBinding of its own set, written by whoever can run this on the server with its keys; never from a first caller. */
async function bootstrap(flags: { config?: string; issuer: string; subject: string }): Promise<void> {
  await withStore(load(flags), async (store) => {
    const { epoch, documents } = await store.documents.load();
    const issuer = documents.find(({ kind, name }) => kind === 'TrustedIssuer' && name === flags.issuer);
    if (issuer === undefined) fail(1, `no TrustedIssuer ${flags.issuer}; put it into the bundle first`);
    if (Reflect.get(Object(issuer.body['spec']), 'people') !== true)
      fail(1, `${flags.issuer} is not an issuer of people (people: true)`);
    const body = {
      apiVersion: 'mayfly/v1',
      kind: 'RoleBinding',
      metadata: { name: 'bootstrap-admin' },
      spec: { roles: ['admin'], subjects: [{ issuer: flags.issuer, match: { sub: flags.subject } }] },
    };
    const result = await store.documents.apply({
      set: 'bootstrap',
      upserts: [{ kind: 'RoleBinding', name: 'bootstrap-admin', body }],
      deletions: [],
      takeOver: false,
      expectedEpoch: epoch,
      actor: 'mayfly bootstrap',
      event: (change) => ({
        id: crypto.randomUUID(),
        type: 'document.applied',
        at: new Date(),
        actor: 'mayfly bootstrap',
        taskId: null,
        issuanceId: null,
        body: { ...change },
      }),
    });
    if (result.kind === 'stale') fail(3, 'the policy changed meanwhile; run it again');
    console.log(`${flags.issuer}/${flags.subject} is admin (RoleBinding bootstrap-admin)`);
  });
}

function registerKeys(program: Command, withConfig: (command: Command) => Command): void {
  const keys = program.command('keys').description('signing keys');
  withConfig(keys.command('list').description('keys with their purpose and times; never a private part'))
    .option('-o, --output <format>', 'table or json', 'table')
    .action(async (flags: { config?: string; output: string }) => {
      const rows = await withStore(load(flags), async (store) =>
        (await store.keys.list()).map(({ wrapped: _, publicJwk: __, ...key }) => ({
          ...key,
          createdAt: key.createdAt.toISOString(),
          activeFrom: key.activeFrom.toISOString(),
          retiredAt: key.retiredAt?.toISOString() ?? null,
        })),
      );
      printRows(rows, {
        format: parseFormat(flags.output),
        columns: ['id', 'purpose', 'alg', 'activeFrom', 'retiredAt'],
      });
    });
  withConfig(
    keys
      .command('rotate')
      .description('makes the next key: published at once, signing once every cache has seen it'),
  )
    .requiredOption('--purpose <purpose>', signingPurposes.join(' or '))
    .action(async (flags: { config?: string; purpose: string }) => {
      const purpose = purposeOf(flags.purpose);
      await withStore(load(flags), async (store, kek) => {
        const now = new Date();
        const key = await makeSigningKey(purpose, {
          kek,
          now,
          activeFrom: new Date(now.getTime() + publishLeadMs),
        });
        await store.keys.insert(key, { onlyIfNone: false, audit: null });
        console.log(`${key.id} signs from ${key.activeFrom.toISOString()}`);
      });
    });
  withConfig(
    keys
      .command('export')
      .description('static files of the federation issuer, for where clouds can fetch them'),
  )
    .requiredOption('--federation <dir>', 'folder to write to')
    .action(async (flags: { config?: string; federation: string }) => {
      const config = load(flags);
      await withStore(config, async (store, kek) => {
        const { ring } = await loadKeys(store, kek);
        const known = join(flags.federation, '.well-known');
        mkdirSync(known, { recursive: true });
        writeFileSync(
          join(known, 'openid-configuration'),
          JSON.stringify(federationDocument(config.federationIssuer)),
        );
        writeFileSync(join(flags.federation, 'jwks'), JSON.stringify(ring.jwks('federation', new Date())));
        console.log(`${known}/openid-configuration\n${flags.federation}/jwks`);
      });
    });
}

function purposeOf(text: string): SigningPurpose {
  return (
    signingPurposes.find((one) => one === text) ??
    fail(2, `--purpose ${text}: ${signingPurposes.join(' or ')}`)
  );
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
