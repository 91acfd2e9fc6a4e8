import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Mayfly, type Task } from '@mayfly/sdk';

/**
 * Tries on the real Google Cloud what elsewhere is only tried on a stand-in: what a credential opens, and what it does
 * not. For people with a project of their own (docs/clouds/gcp.md); nothing runs it by itself, and it only reads.
 * Exit code 0: every step held; 1: one did not; 2: usage.
 */
const usage = `node scripts/live/gcp.ts --template NAME [--param name=value]...
  --read-tool TOOL     a grant with access gcs.object and action read
  --object gs://B/O    inside that grant, and there
  --neighbour gs://B/O another object of the same bucket, and there; not under --prefix
  --prefix-tool TOOL   a grant with access gcs.prefix and actions read and list
  --prefix gs://B/P/   inside that grant, with --object beneath it
  [--storage URL]      default https://storage.googleapis.com
  [--skip-expiry]      do not wait for the end of a URL
The broker and who you are: MAYFLY_SERVER, MAYFLY_ASSERTION_COMMAND, ... (packages/sdk/README.md)`;

/** Long enough to try a URL a few times, short enough to wait for. */
const urlSeconds = 15;

const text = { type: 'string' } as const;
const { values: flags } = parseArgs({
  options: {
    template: text,
    param: { type: 'string', multiple: true, default: [] },
    'read-tool': text,
    object: text,
    neighbour: text,
    'prefix-tool': text,
    prefix: text,
    storage: { type: 'string', default: 'https://storage.googleapis.com' },
    'skip-expiry': { type: 'boolean', default: false },
  },
});

interface Wanted {
  readonly readTool: string;
  readonly object: string;
  readonly neighbour: string;
  readonly prefixTool: string;
  readonly prefix: string;
}

let failed = 0;

/** One line a step, in the order they are tried. */
function say(step: string, status: number, expected: readonly number[]): void {
  const held = expected.includes(status);
  if (!held) failed += 1;
  console.log(
    `${held ? 'held  ' : 'FAILED'}  ${step}: ${status}${held ? '' : `, not ${expected.join(' or ')}`}`,
  );
}

async function status(url: string, init: RequestInit = {}): Promise<number> {
  const answer = await fetch(url, init);
  await answer.body?.cancel();
  return answer.status;
}

async function tryUrl(task: Task, { readTool, object, neighbour }: Wanted): Promise<void> {
  const url = await task.url(readTool, object, { actions: ['read'], ttl: urlSeconds });
  const until = Date.now() + urlSeconds * 1000;
  const other = new URL(url);
  other.pathname = new URL(neighbour.replace('gs://', 'https://x/')).pathname;
  say('URL opens its object', await status(url), [200]);
  say('URL changed to the neighbour', await status(other.href), [403]);
  say('URL by another method', await status(url, { method: 'DELETE' }), [403]);
  say('URL with one parameter more', await status(`${url}&x=1`), [403]);
  // If Google took this, a URL that writes could copy another object of its account.
  const unsigned = { headers: { 'x-goog-copy-source': neighbour.replace('gs://', '') } };
  say('URL with an unsigned x-goog- header', await status(url, unsigned), [400, 403]);
  if (flags['skip-expiry']) return console.log('skipped URL after its end: --skip-expiry');
  await delay(until + 2_000 - Date.now());
  say('URL after its end', await status(url), [400, 403]);
}

async function tryToken(task: Task, { prefixTool, prefix, object, neighbour }: Wanted): Promise<void> {
  const token = await task.token(prefixTool, prefix, { ttl: 60 });
  console.log(
    `        a token of ${Math.round((token.expiresAt.getTime() - Date.now()) / 1000)} s was given`,
  );
  const headers = { authorization: token.authorization() };
  const [, bucket = '', beneath = ''] = /^gs:\/\/([^/]+)\/(.*)$/.exec(prefix) ?? [];
  const api = `${flags.storage}/storage/v1/b/${bucket}/o`;
  const at = (identifier: string) =>
    `${api}/${encodeURIComponent(identifier.replace(`gs://${bucket}/`, ''))}`;
  const asked = (url: string, method = 'GET') => status(url, { headers, method });
  say('token reads an object beneath', await asked(`${at(object)}?alt=media`), [200]);
  say('token at the neighbour', await asked(`${at(neighbour)}?alt=media`), [403]);
  say('token lists its prefix', await asked(`${api}?prefix=${encodeURIComponent(beneath)}`), [200]);
  say('token lists the bucket', await asked(api), [403]);
  say('token reads the bucket itself', await asked(api.slice(0, -2)), [403]);
}

function wanted(): Wanted {
  const all = ['read-tool', 'object', 'neighbour', 'prefix-tool', 'prefix'] as const;
  const [readTool, object, neighbour, prefixTool, prefix] = all.map((name) => flags[name] ?? '');
  if (!readTool || !object || !neighbour || !prefixTool || !prefix || !flags.template) {
    console.error(usage);
    process.exit(2);
  }
  return { readTool, object, neighbour, prefixTool, prefix };
}

const target = wanted();
const params = Object.fromEntries(
  flags.param.map((pair) => [pair.split('=')[0] ?? '', pair.slice(pair.indexOf('=') + 1)]),
);
await new Mayfly().run({ template: flags.template ?? '', params, objective: 'live test' }, async (task) => {
  await tryUrl(task, target);
  await tryToken(task, target);
});
console.log(failed === 0 ? 'every step held' : `${failed} steps did not hold`);
process.exit(failed === 0 ? 0 : 1);
