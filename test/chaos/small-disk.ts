import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** A file system of its own that can be full. */
export interface SmallDisk {
  /** Takes all that is left. */
  fill(): void;
  free(): void;
  unmount(): void;
}

const sizeMiB = 640;
const pieceBytes = 1 << 20;

/** A tmpfs over this folder, or why there is none. */
export function mountSmallDisk(folder: string): SmallDisk | string {
  if (process.getuid?.() !== 0) return 'only root may mount one';
  const args = ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=0711`, 'mayfly-chaos', folder];
  const { status, stderr, error } = spawnSync('mount', args, { encoding: 'utf8' });
  if (status !== 0) return (error?.message ?? stderr).trim();
  const filler = join(folder, 'filler');
  const free = () => rmSync(filler, { force: true });
  const unmount = () => {
    process.off('exit', unmount);
    free();
    spawnSync('umount', ['-l', folder]);
  };
  process.once('exit', unmount);
  return {
    fill: () => {
      const file = openSync(filler, 'w');
      try {
        const piece = Buffer.alloc(pieceBytes);
        while (statfsSync(folder).bavail > 0) writeSync(file, piece);
      } catch (error) {
        if (Reflect.get(Object(error), 'code') !== 'ENOSPC') throw error;
      } finally {
        closeSync(file);
      }
    },
    free,
    unmount,
  };
}
