import { spawnSync } from 'node:child_process';

const programs = ['ceph', 'ceph-mon', 'ceph-mgr', 'ceph-osd', 'radosgw', 'radosgw-admin'];
const packages = ['ceph-mon', 'ceph-mgr', 'ceph-osd', 'radosgw'];
/** 64 packages, 73 MB: a minute on a slow line. */
const installMs = 600_000;

/** Ceph's programs are here, or are installed as Debian's packages; else the reason why not. */
export function installCeph(say: (line: string) => void): string | undefined {
  if (missing().length === 0) return undefined;
  if (process.getuid?.() !== 0)
    return `${missing().join(', ')} not installed, and only root may install them`;
  if (!isProgram('apt-get')) return `${missing().join(', ')} not installed, and there is no apt-get`;
  say(`installing ${packages.join(', ')} of Debian (73 MB) ...`);
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    timeout: installMs,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  } as const;
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...packages]]) {
    const { status, stderr, error } = spawnSync('apt-get', args, options);
    if (status !== 0)
      return `apt-get ${args[0]} failed: ${(error?.message ?? stderr ?? '').trim().slice(-300)}`;
  }
  return missing().length === 0 ? undefined : `the packages do not hold ${missing().join(', ')}`;
}

function missing(): string[] {
  return programs.filter((name) => !isProgram(name));
}

function isProgram(name: string): boolean {
  return spawnSync('/bin/sh', ['-c', 'command -v "$1"', 'sh', name]).status === 0;
}
