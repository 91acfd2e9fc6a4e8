import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Mayfly } from '@mayfly/sdk';

/** Longest time after the end of a task that is looked for; with several replicas its maker may be asked late. */
const endSecondsMax = 120;
const lookMs = 1_000;

export interface LiveGithub {
  readonly mayfly: Mayfly;
  readonly template: string;
  readonly params: Readonly<Record<string, string>>;
  /** Of a grant with access github.repository and action read. */
  readonly tool: string;
  /** `OWNER/REPOSITORY` of the grant, and another private one of the same installation. */
  readonly allowed: string;
  readonly neighbour: string;
  readonly api: string;
  say(line: string): void;
}

/**
 * What docs/clouds/github.md claims of one token, tried at GitHub through a running broker: for people who have an App;
 * nothing runs it by itself. It writes nothing: the one write that it tries lacks what GitHub demands of one.
 * True when everything held.
 */
export async function tryGithub(options: LiveGithub): Promise<boolean> {
  const { mayfly, template, params, tool, allowed, neighbour, say } = options;
  let held = true;
  const claim = (what: string, status: number, wanted: number) => {
    held &&= status === wanted;
    say(`${status === wanted ? 'held  ' : 'FAILED'} ${what}: ${status}`);
  };
  let token = '';
  const objective = 'live test of docs/clouds/github.md';
  await mayfly.run({ template, params, objective }, async (task) => {
    const { authorization = '' } = await task.headers(tool, `https://github.com/${allowed}`);
    token = authorization;
    claim('the repository', await statusOf(options, allowed, token), 200);
    // A private one that a token does not see is not there.
    claim('its neighbour', await statusOf(options, neighbour, token), 404);
    claim('a write', await statusOf(options, allowed, token, 'PUT'), 403);
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

async function statusOf(
  { api }: LiveGithub,
  repository: string,
  authorization: string,
  method = 'GET',
): Promise<number> {
  const headers = { authorization, accept: 'application/vnd.github+json', 'user-agent': 'mayfly' };
  // Without the hash of the file that it would replace: 422 even for a token that may write.
  const body = method === 'GET' ? {} : { body: JSON.stringify({ message: 'x', content: 'eA==' }) };
  const answer = await fetch(`${api}/repos/${repository}/contents/README.md`, { method, headers, ...body });
  await answer.body?.cancel();
  return answer.status;
}

const usage = `node scripts/live/github.ts --template NAME [--param name=value]... --tool TOOL
  --allowed OWNER/REPOSITORY    of a grant with access github.repository and action read; it has a README.md
  --neighbour OWNER/REPOSITORY  another private one of the same installation
  [--api URL]                   default https://api.github.com
The broker and who you are: MAYFLY_SERVER, MAYFLY_ASSERTION_COMMAND, ... (packages/sdk/README.md)`;

if (import.meta.main) {
  const text = { type: 'string', default: '' } as const;
  const { values } = parseArgs({
    options: {
      ...{ template: text, tool: text, allowed: text, neighbour: text },
      api: { type: 'string', default: 'https://api.github.com' },
      param: { type: 'string', multiple: true, default: [] },
    },
  });
  const { param, ...rest } = values;
  if (Object.values(rest).includes('')) {
    console.error(usage);
    process.exit(2);
  }
  const held = await tryGithub({
    ...rest,
    params: Object.fromEntries(param.map((one) => [one.split('=')[0], one.slice(one.indexOf('=') + 1)])),
    mayfly: new Mayfly(),
    say: (line) => console.log(line),
  });
  process.exit(held ? 0 : 1);
}
