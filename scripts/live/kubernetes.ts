import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Mayfly } from '@mayfly/sdk';

/** Longest time after the end of a task that is looked for; the API server remembers a token for ten seconds. */
const endSecondsMax = 30;
const lookMs = 500;

export interface LiveKubernetes {
  readonly mayfly: Mayfly;
  readonly template: string;
  readonly params: Readonly<Record<string, string>>;
  readonly tool: string;
  /** `k8s://CLUSTER/NAMESPACE/SERVICEACCOUNT`. */
  readonly account: string;
  readonly api: string;
  /** PEM; left out, the authorities of this machine. */
  readonly ca?: string;
  /** A path that the account may read, and one that it may not. */
  readonly allowed: string;
  readonly neighbour: string;
  say(line: string): void;
}

/**
 * What docs/clouds/kubernetes.md claims of one token, tried on a cluster through a running broker: for people who have
 * one; nothing runs it by itself, and it only reads. True when everything held.
 */
export async function tryKubernetes(options: LiveKubernetes): Promise<boolean> {
  const { mayfly, template, params, tool, account, allowed, neighbour, say } = options;
  let held = true;
  const claim = (what: string, status: number, wanted: number) => {
    held &&= status === wanted;
    say(`${status === wanted ? 'held  ' : 'FAILED'} ${what}: ${status}`);
  };
  let token = '';
  const objective = 'live test of docs/clouds/kubernetes.md';
  await mayfly.run({ template, params, objective }, async (task) => {
    token = await task.kubernetes(tool, account);
    claim('what the account may read', await statusOf(options, allowed, token), 200);
    claim('its neighbour', await statusOf(options, neighbour, token), 403);
    claim('without the token', await statusOf(options, allowed, 'none'), 401);
  });
  const ended = Date.now();
  let status = 200;
  while (status === 200 && Date.now() < ended + endSecondsMax * 1000) {
    await delay(lookMs);
    status = await statusOf(options, allowed, token);
  }
  claim(`${((Date.now() - ended) / 1000).toFixed(1)} s after the end of its task`, status, 401);
  return held;
}

function statusOf({ api, ca }: LiveKubernetes, path: string, token: string): Promise<number> {
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

const usage = `node scripts/live/kubernetes.ts --template NAME [--param name=value]... --tool TOOL
  --account k8s://CLUSTER/NAMESPACE/SERVICEACCOUNT  --api https://HOST:6443 [--ca FILE]
  --allowed /api/v1/namespaces/NS/configmaps/NAME   a path that the account may read
  --neighbour /api/v1/namespaces/OTHER/...          one that it may not
The broker and who you are: MAYFLY_SERVER, MAYFLY_ASSERTION_COMMAND, ... (packages/sdk/README.md)`;

if (import.meta.main) {
  const text = { type: 'string', default: '' } as const;
  const { values } = parseArgs({
    options: {
      ...{ template: text, tool: text, account: text, api: text, allowed: text, neighbour: text },
      ca: { type: 'string' },
      param: { type: 'string', multiple: true, default: [] },
    },
  });
  const { param, ca, ...rest } = values;
  if (Object.values(rest).includes('')) {
    console.error(usage);
    process.exit(2);
  }
  const held = await tryKubernetes({
    ...rest,
    ...(ca === undefined ? {} : { ca: readFileSync(ca, 'utf8') }),
    params: Object.fromEntries(param.map((one) => [one.split('=')[0], one.slice(one.indexOf('=') + 1)])),
    mayfly: new Mayfly(),
    say: (line) => console.log(line),
  });
  process.exit(held ? 0 : 1);
}
