import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A cluster of one of each, in memory, on loopback: third-party S3, STS and IAM. */
export interface Ceph {
  readonly endpoint: string;
  /** A user who may make roles, OIDC providers and buckets. */
  readonly owner: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Ends the processes that were started, and nothing else; removes the folder. */
  stop(): Promise<void>;
}

/** One command of the set-up; each takes well under a second. */
const commandMs = 30_000;
/** From nothing to an S3 that answers: 20 s on two cores. */
const startMs = 120_000;
const pollMs = 250;

interface Starting {
  readonly folder: string;
  readonly config: string;
  readonly daemons: ChildProcess[];
  readonly deadline: number;
}

/** The order is Ceph's own manual deployment: keys, monitor, one OSD, manager, gateway. */
export async function startCeph(): Promise<Ceph> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-ceph-'));
  const [monitorPort, port] = [await freePort(), await freePort()];
  const config = join(folder, 'ceph.conf');
  const starting: Starting = { folder, config, daemons: [], deadline: Date.now() + startMs };
  const ids = { monitorPort, port, fsid: randomUUID() };
  writeFileSync(config, settings(folder, ids), { mode: 0o600 });
  const stop = () => end(starting);
  try {
    await startMonitor(starting, ids);
    await startOsd(starting);
    daemon(starting, 'mgr', ['ceph-mgr', '-i', 'x', '-f']);
    await run(starting, ['ceph', 'osd', 'crush', 'add', 'osd.0', '1.0', 'root=default']);
    daemon(starting, 'rgw', ['radosgw', '-n', 'client.rgw.a', '-f']);
    const endpoint = `http://127.0.0.1:${port}`;
    await until(starting, 'radosgw', async () => (await fetch(endpoint)).status === 200);
    const owner = await createOwner(starting);
    return { endpoint, owner, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Ids {
  readonly monitorPort: number;
  readonly port: number;
  readonly fsid: string;
}

async function startMonitor(starting: Starting, { monitorPort, fsid }: Ids): Promise<void> {
  const { folder } = starting;
  const [map, keyring] = [join(folder, 'monmap'), join(folder, 'keyring')];
  const address = `[v2:127.0.0.1:${monitorPort}]`;
  await run(starting, ['monmaptool', '--create', '--fsid', fsid, '--addv', 'a', address, map]);
  await run(starting, [
    'ceph-authtool',
    '--create-keyring',
    keyring,
    '--gen-key',
    '-n',
    'mon.',
    '--cap',
    'mon',
    'allow *',
  ]);
  const caps = ['mon', 'osd', 'mgr', 'mds'].flatMap((what) => ['--cap', what, 'allow *']);
  for (const who of ['client.admin', 'osd.0', 'mgr.x', 'client.rgw.a'])
    await run(starting, ['ceph-authtool', keyring, '--gen-key', '-n', who, ...caps]);
  await run(starting, ['ceph-mon', '--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring]);
  daemon(starting, 'mon', ['ceph-mon', '-i', 'a', '-f']);
  await until(starting, 'ceph-mon', () => run(starting, ['ceph', 'mon', 'stat']).then(() => true));
}

async function startOsd(starting: Starting): Promise<void> {
  const uuid = randomUUID();
  await run(starting, ['ceph', 'osd', 'new', uuid]);
  await run(starting, ['ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', uuid]);
  daemon(starting, 'osd', ['ceph-osd', '-i', '0', '-f']);
}

async function createOwner(starting: Starting): Promise<Ceph['owner']> {
  const owner = {
    accessKeyId: randomBytes(10).toString('hex').toUpperCase(),
    secretAccessKey: randomBytes(20).toString('hex'),
  };
  const caps = 'roles=*;oidc-provider=*;user-policy=*';
  const keys = [`--access-key=${owner.accessKeyId}`, `--secret-key=${owner.secretAccessKey}`];
  const user = ['user', 'create', '--uid=owner', '--display-name=owner', `--caps=${caps}`, ...keys];
  await run(starting, ['radosgw-admin', ...user]);
  return owner;
}

/** A daemon that also ends when this process is killed: its shell waits for the end of a pipe that we hold. */
function daemon({ folder, config, daemons }: Starting, name: string, command: readonly string[]): void {
  const log = openSync(join(folder, `${name}.out`), 'w');
  // An OSD does not heed SIGTERM for seconds, and nothing of this is worth a clean end.
  const shell = '"$@" & daemon=$!; cat > /dev/null; kill -9 $daemon; wait $daemon';
  const argv = ['-c', shell, name, ...command, '-c', config];
  // Its own group, or Ctrl-C would end the daemons before we are done with them.
  daemons.push(spawn('/bin/sh', argv, { stdio: ['pipe', log, log], detached: true }));
}

async function end({ folder, daemons }: Starting): Promise<void> {
  await Promise.all(
    daemons.toReversed().map((child) => {
      if (child.exitCode !== null || child.signalCode !== null) return undefined;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin?.end();
      return ended;
    }),
  );
  rmSync(folder, { recursive: true, force: true });
}

async function run({ config }: Starting, [program = '', ...args]: readonly string[]): Promise<void> {
  const child = spawn(program, [...args, ...(usesConfig(program) ? ['-c', config] : [])], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: commandMs,
    killSignal: 'SIGKILL',
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-2000);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${program} ${args[0]} ended with ${code ?? 'a signal'}: ${said.trim()}`);
}

function usesConfig(program: string): boolean {
  return program !== 'monmaptool' && program !== 'ceph-authtool';
}

async function until({ deadline }: Starting, what: string, holds: () => Promise<boolean>): Promise<void> {
  for (;;) {
    if (await holds().catch(() => false)) return;
    if (Date.now() > deadline) throw new Error(`${what} did not answer within ${startMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', resolve);
  });
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no free port');
  return address.port;
}

/**
 * cephx, because without it the gateway never connects; one copy of everything, in memory; TCP_NODELAY, without which
 * each request waits 40 ms for an acknowledgement.
 */
function settings(folder: string, { monitorPort, port, fsid }: Ids): string {
  for (const name of ['mon.a', 'osd.0', 'mgr.x']) mkdirSync(join(folder, name));
  return `[global]
fsid = ${fsid}
mon host = v2:127.0.0.1:${monitorPort}/0
public addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 1
run dir = ${folder}
keyring = ${folder}/keyring
log file = ${folder}/$name.log
admin socket = ${folder}/$name.asok
[mon.a]
mon data = ${folder}/mon.a
[osd.0]
osd data = ${folder}/osd.0
osd objectstore = memstore
memstore device bytes = 2147483648
osd class load list = *
osd class default list = *
[mgr.x]
mgr data = ${folder}/mgr.x
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw sts key = ${randomBytes(8).toString('hex')}
rgw s3 auth use sts = true
rgw thread pool size = 16
`;
}
