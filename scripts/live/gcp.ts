import { setTimeout as delay } from 'node:timers/promises';
import type { Task } from '@mayfly/sdk';
import { type Claims, type Live, runLive, startClaims, statusOf } from './live.ts';

/** Long enough to try a URL a few times, short enough to wait for. */
const urlSeconds = 15;

export interface LiveGcp extends Live {
  /** Of a grant with access gcs.object and action read. */
  readonly readTool: string;
  /** `gs://BUCKET/OBJECT` that exists, inside that grant and beneath `prefix`. */
  readonly object: string;
  /** Another one of the same bucket that exists, not beneath `prefix`. */
  readonly neighbour: string;
  /** Of a grant with access gcs.prefix and actions read and list. */
  readonly prefixTool: string;
  readonly prefix: string;
  readonly storage: string;
  readonly skipExpiry: boolean;
}

/**
 * What docs/clouds/gcp.md claims of a URL and of a token, tried at Google through a running broker: for people with a
 * project; nothing runs it by itself, and it only reads. True when everything held.
 */
export async function tryGcp(options: LiveGcp): Promise<boolean> {
  const { mayfly, template, params } = options;
  const claims = startClaims(options);
  const objective = 'live test of docs/clouds/gcp.md';
  await mayfly.run({ template, params, objective }, async (task) => {
    await tryUrl(task, options, claims);
    await tryToken(task, options, claims);
  });
  return claims.held();
}

async function tryUrl(task: Task, options: LiveGcp, { claim }: Claims): Promise<void> {
  const { readTool, object, neighbour } = options;
  const url = await task.url(readTool, object, { actions: ['read'], ttl: urlSeconds });
  const until = Date.now() + urlSeconds * 1000;
  const other = new URL(url);
  other.pathname = new URL(neighbour.replace('gs://', 'https://x/')).pathname;
  claim('URL opens its object', await statusOf(url), [200]);
  claim('URL changed to the neighbour', await statusOf(other.href), [403]);
  claim('URL by another method', await statusOf(url, { method: 'DELETE' }), [403]);
  claim('URL with one parameter more', await statusOf(`${url}&x=1`), [403]);
  // If Google took this, a URL that writes could copy another object of its account.
  const unsigned = { headers: { 'x-goog-copy-source': neighbour.replace('gs://', '') } };
  claim('URL with an unsigned x-goog- header', await statusOf(url, unsigned), [400, 403]);
  if (options.skipExpiry) return options.say('skipped the URL after its end: --skip-expiry');
  await delay(until + 2_000 - Date.now());
  claim('URL after its end', await statusOf(url), [400, 403]);
}

async function tryToken(task: Task, options: LiveGcp, { claim }: Claims): Promise<void> {
  const { prefixTool, prefix, object, neighbour, storage } = options;
  const token = await task.token(prefixTool, prefix, { ttl: 60 });
  options.say(`       a token of ${Math.round((token.expiresAt.getTime() - Date.now()) / 1000)} s was given`);
  const headers = { authorization: token.authorization() };
  const [, bucket = '', beneath = ''] = /^gs:\/\/([^/]+)\/(.*)$/.exec(prefix) ?? [];
  const api = `${storage}/storage/v1/b/${bucket}/o`;
  const at = (identifier: string) =>
    `${api}/${encodeURIComponent(identifier.replace(`gs://${bucket}/`, ''))}`;
  const asked = (url: string, method = 'GET') => statusOf(url, { headers, method });
  claim('token reads an object beneath', await asked(`${at(object)}?alt=media`), [200]);
  claim('token at the neighbour', await asked(`${at(neighbour)}?alt=media`), [403]);
  claim('token lists its prefix', await asked(`${api}?prefix=${encodeURIComponent(beneath)}`), [200]);
  claim('token lists the bucket', await asked(api), [403]);
  claim('token reads the bucket itself', await asked(api.slice(0, -2)), [403]);
}

if (import.meta.main)
  await runLive({
    usage: `npm run -s live -- gcp --template NAME [--param name=value]...
  --read-tool TOOL     a grant with access gcs.object and action read
  --object gs://B/O    inside that grant, and there
  --neighbour gs://B/O another object of the same bucket, and there; not under --prefix
  --prefix-tool TOOL   a grant with access gcs.prefix and actions read and list
  --prefix gs://B/P/   inside that grant, with --object beneath it
  [--storage URL]      default https://storage.googleapis.com
  [--skip-expiry]      do not wait for the end of a URL`,
    flags: {
      ...{ 'read-tool': null, object: null, neighbour: null, 'prefix-tool': null, prefix: null },
      ...{ storage: 'https://storage.googleapis.com', 'skip-expiry': false },
    },
    run: (live, flag) =>
      tryGcp({
        ...live,
        ...{ readTool: flag('read-tool'), object: flag('object'), neighbour: flag('neighbour') },
        ...{ prefixTool: flag('prefix-tool'), prefix: flag('prefix'), storage: flag('storage') },
        skipExpiry: flag('skip-expiry') !== '',
      }),
  });
