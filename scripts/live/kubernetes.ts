import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { type Live, runLive, startClaims, untilRefused } from './live.ts';

/** Longest time after the end of a task that is looked for; the API server remembers a token for ten seconds. */
const endSecondsMax = 30;

export interface LiveKubernetes extends Live {
  readonly tool: string;
  /** `k8s://CLUSTER/NAMESPACE/SERVICEACCOUNT`. */
  readonly account: string;
  readonly api: string;
  /** PEM; left out, the authorities of this machine. */
  readonly ca?: string;
  /** A path that the account may read, and one that it may not. */
  readonly allowed: string;
  readonly neighbour: string;
}

/**
 * What docs/clouds/kubernetes.md claims of one token, tried on a cluster through a running broker: for people who have
 * one; nothing runs it by itself, and it only reads. True when everything held.
 */
export async function tryKubernetes(options: LiveKubernetes): Promise<boolean> {
  const { mayfly, template, params, tool, account, allowed, neighbour } = options;
  const { claim, held } = startClaims(options);
  let token = '';
  const objective = 'live test of docs/clouds/kubernetes.md';
  await mayfly.run({ template, params, objective }, async (task) => {
    token = await task.kubernetes(tool, account);
    claim('what the account may read', await read(options, allowed, token), [200]);
    claim('its neighbour', await read(options, neighbour, token), [403]);
    claim('without the token', await read(options, allowed, 'none'), [401]);
  });
  const ended = Date.now();
  const status = await untilRefused(() => read(options, allowed, token), ended + endSecondsMax * 1000);
  claim(`${((Date.now() - ended) / 1000).toFixed(1)} s after the end of its task`, status, [401]);
  return held();
}

/** Not by fetch, which takes no authority of its own. */
function read({ api, ca }: LiveKubernetes, path: string, token: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const sent = request(`${api}${path}`, { headers, ...(ca === undefined ? {} : { ca }) }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode ?? 0));
    });
    sent.on('error', reject);
    sent.end();
  });
}

if (import.meta.main)
  await runLive({
    usage: `npm run -s live -- kubernetes --template NAME [--param name=value]... --tool TOOL
  --account k8s://CLUSTER/NAMESPACE/SERVICEACCOUNT  --api https://HOST:6443 [--ca FILE]
  --allowed /api/v1/namespaces/NS/configmaps/NAME   a path that the account may read
  --neighbour /api/v1/namespaces/OTHER/...          one that it may not`,
    flags: { tool: null, account: null, api: null, ca: '', allowed: null, neighbour: null },
    run: (live, flag) =>
      tryKubernetes({
        ...live,
        ...{ tool: flag('tool'), account: flag('account'), api: flag('api') },
        ...{ allowed: flag('allowed'), neighbour: flag('neighbour') },
        ...(flag('ca') === '' ? {} : { ca: readFileSync(flag('ca'), 'utf8') }),
      }),
  });
