import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

/** One line of the product, and what stands there instead. */
export interface Patch {
  /** Under the root of the repository. */
  readonly file: string;
  readonly line: string;
  readonly becomes: string;
}

const root = new URL('../../', import.meta.url).href;
const iam = new URL('./iam-client.ts', import.meta.url).href;
const replaced: ReadonlySet<string> = new Set(['@aws-sdk/client-iam', '@aws-sdk/client-sts']);

/**
 * From here on this process loads the product's real sources, the AWS SDK's clients replaced by the simulated cloud,
 * and with a patch the one line changed.
 */
export function loadThrough(patch: Patch | null): void {
  const patched = patch === null ? null : { url: `${root}${patch.file}`, source: patchedSource(patch) };
  registerHooks({
    resolve: (specifier, context, next) =>
      replaced.has(specifier) ? { url: iam, shortCircuit: true } : next(specifier, context),
    load: (url, context, next) => {
      const loaded = next(url, context);
      return url === patched?.url ? { ...loaded, source: patched.source } : loaded;
    },
  });
}

/** The text of the file with the one line changed. Throws when the line does not stand there exactly once. */
export function patchedSource({ file, line, becomes }: Patch): string {
  const lines = readFileSync(fileURLToPath(`${root}${file}`), 'utf8').split('\n');
  const at = lines.findIndex((text) => text.trim() === line);
  if (at === -1) throw new Error(`${file}: this line is not there any more: ${line}`);
  if (lines.findLastIndex((text) => text.trim() === line) !== at)
    throw new Error(`${file}: this line stands there more than once: ${line}`);
  return lines.with(at, becomes).join('\n');
}
