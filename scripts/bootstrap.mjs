// Entry of `npm start`, `npm test` and `npm run mayfly`: runs on any Node >= 20, installs what the project pins (pnpm,
// then Node 24 and everything else, all from npm), and hands over. The one file here that may not need an install.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const bin = join(root, 'node_modules', '.bin');
const stamp = join(root, 'node_modules', '.mayfly-installed');
const [command = 'cli', ...args] = process.argv.slice(2);
const quiet = command === 'cli' || command === 'live';

if (Number.parseInt(process.versions.node, 10) < 20) {
  console.error(`mayfly needs Node 20 or newer to install itself (this is ${process.versions.node})`);
  process.exit(2);
}

install();
const env = { ...process.env, PATH: `${bin}:${process.env.PATH ?? ''}`, TURBO_TELEMETRY_DISABLED: '1' };
const node = join(bin, 'node');
const jest = ['--experimental-vm-modules', '--no-warnings', join(root, 'node_modules/jest/bin/jest.js')];
if (command === 'install') process.exit(0);
const commands = {
  cli: () => [join(root, 'apps/cli/src/main.ts'), ...args],
  dev: () => [join(root, 'apps/cli/src/main.ts'), 'dev', ...args],
  bench: () =>
    args[0] === 'reaper'
      ? [join(root, 'test/bench/reaper.ts'), ...args.slice(1)]
      : [join(root, 'test/bench/main.ts'), ...args],
  conformance: () => [join(root, 'test/conformance/main.ts'), ...args],
  chaos: () => [join(root, 'test/chaos/main.ts'), ...args],
  // Each run is garbage soon: room for it to die young.
  simulate: () => ['--max-semi-space-size=64', join(root, 'test/simulate/main.ts'), ...args],
  ceph: () => [join(root, 'scripts/ceph.ts'), ...args],
  live: () => [join(root, `scripts/live/${liveName(args[0])}.ts`), ...args.slice(1)],
  test: () => [...jest, '--config', join(root, 'jest.config.js'), ...args],
};
const run = commands[command];
if (run === undefined) {
  console.error(`unknown command ${command}`);
  process.exit(2);
}
const withoutDatabase = new Set(['ceph', 'live', 'simulate']);
const line = [node, '--disable-warning=ExperimentalWarning', ...run()];
// The simulator has no database, and live scripts ask a broker that runs. Ceph's packages can only be installed outside of a user namespace; the tests themselves come back here.
const [program, ...argv] = withoutDatabase.has(command) ? line : passable(line);
const child = spawn(program, argv, {
  cwd: command === 'cli' || command === 'live' ? process.cwd() : root,
  env,
  stdio: 'inherit',
});
// Ctrl-C reaches the whole group; the child drains and ends by itself, and this process waits for it.
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => signal === 'SIGTERM' && child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 1));

/** What scripts/live tries at a real cloud; anything else names no file of ours. */
function liveName(name) {
  const names = ['aws', 'azure', 'gcp', 'github', 'kubernetes'];
  if (names.includes(name)) return name;
  console.error(`usage: npm run -s live -- ${names.join('|')} OPTIONS; without options it says which`);
  process.exit(2);
}

/**
 * PostgreSQL never runs as root, and under /root its own user could not even reach its program. There everything runs
 * in a user namespace, where root is called user 1000 and owns the same files.
 */
function passable(command) {
  if (process.getuid?.() !== 0 || isPassable(root)) return command;
  const unshare = ['unshare', '--user', '--map-user=1000', '--map-group=1000'];
  if (spawnSync(unshare[0], [...unshare.slice(1), 'true']).status === 0) return [...unshare, ...command];
  console.error(
    `mayfly: PostgreSQL never runs as root, and its own user cannot enter ${root}; clone it elsewhere, or run as another user`,
  );
  process.exit(2);
}

function isPassable(folder) {
  if ((statSync(folder).mode & 0o001) === 0) return false;
  return folder === dirname(folder) || isPassable(dirname(folder));
}

/** Once per lockfile: a line of progress at least each 10 seconds. */
function install() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'pnpm-lock.yaml')))
    .update(readFileSync(join(root, 'prisma/schema.prisma')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  const say = (line) => console.error(line);
  say('Installing what the project pins (Node 24, PostgreSQL 18 and packages, all from npm) ...');
  const started = Date.now();
  const beat = spawn(
    process.execPath,
    ['-e', 'let s=0;setInterval(()=>console.error(`  still installing, ${s+=10} s`),10000)'],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  try {
    step('npx', ['--yes', 'pnpm@12.21.0', 'install', '--frozen-lockfile', '--reporter=append-only']);
    step(join(bin, 'node'), [join(root, 'node_modules/prisma/build/index.js'), 'generate'], {
      PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true',
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
    });
  } finally {
    beat.kill();
  }
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, lock);
  if (!quiet) say(`Installed in ${Math.round((Date.now() - started) / 1000)} s`);
}

function step(program, argv, more = {}) {
  const result = spawnSync(program, argv, {
    cwd: root,
    env: { ...process.env, CI: 'true', ...more },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.status === 0) return;
  console.error(`${program} ${argv.join(' ')} failed:`);
  console.error(result.stdout?.slice(-4000) ?? '', result.stderr?.slice(-4000) ?? '', result.error ?? '');
  process.exit(3);
}
