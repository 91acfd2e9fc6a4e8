import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A broker in a process of its own, started as often as it is killed. */
export interface ReplicaProcess {
  readonly url: string;
  /** Its clock is ahead of the machine's by so much. */
  start(skewMs?: number): Promise<void>;
  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void;
  /** Gone, by whatever it takes. */
  end(): Promise<void>;
}

export function replicaProcess(
  url: string,
  { settings, logFile }: { settings: Readonly<Record<string, unknown>>; logFile: string },
): ReplicaProcess {
  const script = fileURLToPath(new URL('./replica-child.ts', import.meta.url));
  let child: ChildProcess | undefined;
  // However the harness ends, no broker outlives it.
  process.once('exit', () => void child?.kill('SIGKILL'));
  const start = async (skewMs = 0) => {
    const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
      env: {
        PATH: process.env['PATH'] ?? '',
        CHAOS_SKEW_MS: String(skewMs),
        ROLLING_CHILD: JSON.stringify({ settings, logFile }),
      },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    child = started;
    const ended = once(started, 'exit').then(() => Promise.reject(new Error('it ended before it was ready')));
    ended.catch(() => undefined);
    await Promise.race([once(started.stdout, 'data'), ended]);
  };
  return {
    url,
    start,
    signal: (signal) => void child?.kill(signal),
    end: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGCONT');
      child.kill('SIGKILL');
      await gone;
    },
  };
}
