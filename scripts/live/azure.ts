import { type Live, runLive, startClaims, statusOf, untilRefused } from './live.ts';

/** Storage's clock and ours; a credential that lives longer past its end is a finding. */
const lateSecondsMax = 30;

export interface LiveAzure extends Live {
  readonly tool: string;
  /** A blob that exists, inside the grant. */
  readonly allowed: string;
  /** Another one that exists. */
  readonly neighbour: string;
  readonly ttl: number;
}

/**
 * What docs/clouds/azure.md claims of one credential, tried on the real thing through a running broker: off by default,
 * for people with an account. Writes nothing but one refused PUT. True when everything held.
 */
export async function tryAzure(options: LiveAzure): Promise<boolean> {
  const { mayfly, template, params, tool, allowed, neighbour, ttl, say } = options;
  const { claim, held } = startClaims(options);
  const objective = 'live test of docs/clouds/azure.md';
  await mayfly.run({ template, params, objective }, async (task) => {
    const began = Date.now();
    const url = new URL(await task.sas(tool, allowed, { ttl }));
    say(`minted in ${Date.now() - began} ms, with scid ${url.searchParams.get('scid') ?? 'left out'}`);
    claim('the blob', await statusOf(url), [200]);
    claim('its neighbour', await statusOf(siblingOf(url, neighbour)), [403]);
    claim('a write', await write(url), [403]);
    const widened = new URL(url);
    widened.searchParams.set('sp', 'rw');
    claim('more letters', await statusOf(widened), [403]);
    const ends = Date.parse(url.searchParams.get('se') ?? '');
    const status = await untilRefused(() => statusOf(url), ends + lateSecondsMax * 1000);
    claim(`${((Date.now() - ends) / 1000).toFixed(1)} s after its end`, status, [403]);
  });
  return held();
}

/** The neighbour at the same endpoint, with the same SAS. */
function siblingOf(url: URL, neighbour: string): URL {
  const sibling = new URL(url);
  const [, container = ''] = new URL(neighbour).pathname.split('/');
  const before = url.pathname.slice(0, url.pathname.indexOf(`/${container}/`));
  sibling.pathname = before + new URL(neighbour).pathname;
  return sibling;
}

function write(url: URL): Promise<number> {
  return statusOf(url, { method: 'PUT', body: 'x', headers: { 'x-ms-blob-type': 'BlockBlob' } });
}

if (import.meta.main)
  await runLive({
    usage: `npm run -s live -- azure --template NAME [--param name=value]... --tool TOOL
  --allowed https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB  of a grant with access blob.object and action read
  --neighbour https://...  another blob of the same container, and there
  [--ttl SECONDS]          life of the SAS, which is waited for; default 30`,
    flags: { tool: null, allowed: null, neighbour: null, ttl: '30' },
    run: (live, flag) =>
      tryAzure({
        ...live,
        ...{ tool: flag('tool'), allowed: flag('allowed'), neighbour: flag('neighbour') },
        ttl: Number.parseInt(flag('ttl'), 10),
      }),
  });
