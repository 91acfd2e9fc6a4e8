import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Mayfly } from '@mayfly/sdk';

/** Between two looks at whether a credential is dead. */
const lookMs = 500;
/** Storage's clock and ours; a credential that lives longer past its end is a finding. */
const lateSecondsMax = 30;

export interface LiveOptions {
  readonly mayfly: Mayfly;
  readonly template: string;
  readonly params: Readonly<Record<string, string>>;
  readonly tool: string;
  /** A blob that exists, inside the grant. */
  readonly allowed: string;
  /** Another one that exists. */
  readonly neighbour: string;
  readonly ttl: number;
  say(line: string): void;
}

/**
 * What docs/clouds/azure.md claims of one credential, tried on the real thing through a running broker: off by default,
 * for people with an account. Writes nothing but one refused PUT. True when everything held.
 */
export async function tryAzure(options: LiveOptions): Promise<boolean> {
  const { mayfly, template, params, tool, allowed, neighbour, ttl, say } = options;
  let held = true;
  const claim = (what: string, status: number, wanted: readonly number[]) => {
    const ok = wanted.includes(status);
    held &&= ok;
    say(`${ok ? 'ok    ' : 'FAILED'} ${what}: ${status}`);
  };
  const objective = 'live test of docs/clouds/azure.md';
  await mayfly.run({ template, params, objective }, async (task) => {
    const began = Date.now();
    const url = new URL(await task.sas(tool, allowed, { ttl }));
    say(`minted in ${Date.now() - began} ms, with scid ${url.searchParams.get('scid') ?? 'left out'}`);
    claim('the blob', await statusOf(url), [200]);
    claim('its neighbour', await statusOf(siblingOf(url, neighbour)), [403]);
    claim('a write', await statusOf(url, 'PUT'), [403]);
    const widened = new URL(url);
    widened.searchParams.set('sp', 'rw');
    claim('more letters', await statusOf(widened), [403]);
    const ends = Date.parse(url.searchParams.get('se') ?? '');
    let status = 200;
    while (status === 200 && Date.now() < ends + lateSecondsMax * 1000) {
      await delay(lookMs);
      status = await statusOf(url);
    }
    claim(`${((Date.now() - ends) / 1000).toFixed(1)} s after its end`, status, [403]);
  });
  return held;
}

/** The neighbour at the same endpoint, with the same SAS. */
function siblingOf(url: URL, neighbour: string): URL {
  const sibling = new URL(url);
  const [, container = ''] = new URL(neighbour).pathname.split('/');
  const before = url.pathname.slice(0, url.pathname.indexOf(`/${container}/`));
  sibling.pathname = before + new URL(neighbour).pathname;
  return sibling;
}

async function statusOf(url: URL, method = 'GET'): Promise<number> {
  const write = { body: 'x', headers: { 'x-ms-blob-type': 'BlockBlob' } };
  const answer = await fetch(url, { method, redirect: 'error', ...(method === 'PUT' ? write : {}) });
  await answer.body?.cancel();
  return answer.status;
}

if (import.meta.main) {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ template: text, tool: text, allowed: text, neighbour: text },
      param: { type: 'string', multiple: true, default: [] },
      ttl: { type: 'string', default: '30' },
    },
  });
  const { template, tool, allowed, neighbour } = values;
  if (template === undefined || tool === undefined || allowed === undefined || neighbour === undefined) {
    console.error(
      'usage: node scripts/live/azure.ts --template T --param NAME=VALUE --tool X --allowed URL --neighbour URL [--ttl 30]',
    );
    process.exit(2);
  }
  const params = Object.fromEntries(values.param.map((one) => one.split('=', 2)));
  const ttl = Number.parseInt(values.ttl, 10);
  const say = (line: string) => console.log(line);
  const mayfly = new Mayfly();
  const held = await tryAzure({ mayfly, template, params, tool, allowed, neighbour, ttl, say });
  process.exit(held ? 0 : 1);
}
