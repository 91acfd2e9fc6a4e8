import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { auditEvent } from '@mayfly/core';
import type { RecoveryState } from '@mayfly/store';
import type { Wired } from './wire.ts';

/** How much a restore can take back unseen by a process that did not live then: what happened since its last line. */
const everyMs = 5_000;
const fileName = 'high-water.json';

export interface HighWaterWatch {
  stop(): Promise<void>;
}

/**
 * Notices that the database is an older state than was known (contract.md section 6), from the memory of this process
 * and from a file in its data folder. Looked at once before anything is served; the statements that give something
 * compare as well, so that nothing waits for the next look.
 */
export async function startHighWater(
  broker: Wired,
  { isMoved }: { readonly isMoved: boolean },
): Promise<HighWaterWatch> {
  const { config, store, log } = broker;
  const file = join(config.dataDir, fileName);
  const written = await readMark(file);
  if (written !== null && !(await store.highWater.learn(written)))
    log.warn({ file }, 'what is written there is of another database, and says nothing of this one');
  if (isMoved) await store.recovery.require('moved', eventOf(broker, 'moved'));
  let told: string | null = null;
  const look = async () => {
    const state = await store.highWater.advance(eventOf(broker, 'older'));
    tell(broker, state, told);
    told = state.recovery;
    if (state.recovery === null) await writeMark(file, state);
  };
  await look();
  let running: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    running = running
      .then(look)
      .catch((error: unknown) =>
        log.warn({ err: error }, 'how far the database has come was not noted; tried again'),
      );
  }, everyMs);
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}

function eventOf({ exchange: { newId, clock } }: Wired, why: 'older' | 'moved') {
  const event = { type: 'installation.recovery_required', actor: 'mayfly', body: { why } };
  return auditEvent({ newId, now: clock.now() }, event);
}

function tell({ metrics, exchange }: Wired, { recovery }: RecoveryState, told: string | null): void {
  metrics.recoveryRequired.set(recovery === null ? 0 : 1);
  if (recovery === null || recovery === told) return;
  exchange.report('this database is an older state; nothing is issued until `mayfly recover`', {
    why: recovery,
    alarm: 'recovery_required',
  });
}

/** Nothing where there is none, or none that can be read: less is known then, and nothing is wrong. */
async function readMark(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return null;
  }
}

/** Whole or not at all, also where the machine stops in the middle. */
async function writeMark(file: string, { installation, recovered, mark }: RecoveryState): Promise<void> {
  await mkdir(join(file, '..'), { recursive: true });
  const handle = await open(`${file}.${process.pid}`, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify({ installation, recovered, mark })}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.${process.pid}`, file);
}
