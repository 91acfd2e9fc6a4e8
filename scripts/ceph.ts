import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Ceph, startCeph } from './ceph/cluster.ts';
import { installCeph } from './ceph/install.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const usage = `usage: npm run test:ceph            starts Ceph, runs test/ceph against it, ends it
       npm run test:ceph -- up      starts Ceph, prints how to use it, ends it at Ctrl-C`;

/** Ceph as a judge that is not ours. Exits 0 with a printed reason where it cannot be had, 3 where it does not start. */
async function main(args: readonly string[]): Promise<number> {
  const [mode = 'test', ...rest] = args;
  if (mode === '--help' || mode === '-h') {
    console.log(usage);
    return 0;
  }
  const started = Date.now();
  const reason = installCeph(console.log);
  if (reason !== undefined) {
    console.log(`skipped: ${reason}`);
    return 0;
  }
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve('interrupted'));
  });
  const starting = startCeph().catch((error: unknown) => {
    console.log(`skipped: Ceph did not start: ${error instanceof Error ? error.message : error}`);
    return undefined;
  });
  const first = await Promise.race([starting, interrupted]);
  const ceph = first === 'interrupted' ? await starting : first;
  if (ceph === undefined) return 3;
  try {
    if (first === 'interrupted') return 1;
    console.log(`Ceph at ${ceph.endpoint} after ${Math.round((Date.now() - started) / 1000)} s`);
    if (mode !== 'up') return await test(ceph, mode === 'test' ? rest : args);
    console.log(invitation(ceph));
    await interrupted;
    return 0;
  } finally {
    await ceph.stop();
  }
}

/** The tests' own process: where root runs, it enters a user namespace, in which Ceph could not be installed. */
function test(ceph: Ceph, args: readonly string[]): Promise<number> {
  const argv = [join(root, 'scripts/bootstrap.mjs'), 'test', '--selectProjects', 'ceph', ...args];
  const child = spawn(process.execPath, argv, {
    cwd: root,
    env: { ...process.env, ...variables(ceph) },
    stdio: 'inherit',
  });
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

function variables({ endpoint, owner }: Ceph): Readonly<Record<string, string>> {
  return {
    MAYFLY_TEST_CEPH: endpoint,
    AWS_ACCESS_KEY_ID: owner.accessKeyId,
    AWS_SECRET_ACCESS_KEY: owner.secretAccessKey,
  };
}

function invitation(ceph: Ceph): string {
  const { MAYFLY_TEST_CEPH: endpoint, ...keys } = variables(ceph);
  const words = Object.entries(keys).map(([name, value]) => `${name}=${value}`);
  return `in a second terminal:
  ${words.join(' ')} npm start -- --once --aws-endpoint ${endpoint}
Ctrl-C ends it.`;
}

process.exit(await main(process.argv.slice(2)));
