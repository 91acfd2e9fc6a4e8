import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface Child {
  readonly pid: number;
  /** What stood after READY. */
  readonly said: string;
  stop(): Promise<void>;
}

/** A script of this repository as a process of its own, ready when it prints READY, or when `ready` says so. */
export async function startChild(
  script: string,
  args: readonly string[],
  options: { env?: Readonly<Record<string, string>>; ready?: () => Promise<boolean> } = {},
): Promise<Child> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, ...args], {
    cwd: root,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said = await (options.ready === undefined ? firstLine(child) : polled(child, options.ready));
  return {
    pid: child.pid ?? 0,
    said,
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once('exit', () => resolve());
        child.stdin?.end();
        child.kill('SIGTERM');
      }),
  };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`a child ended with ${code} before it was ready`)));
    if (child.stdout === null) return reject(new TypeError('no standard output'));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('READY ')) resolve(line.slice(6));
    });
  });
}

async function polled(child: ChildProcess, ready: () => Promise<boolean>): Promise<string> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`a child ended with ${child.exitCode} before it was ready`);
    if (await ready()) return '';
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('a child was not ready in a minute');
}
