import { type Live, runLive, startClaims, statusOf, untilRefused } from './live.ts';

/** Longest time after the end of a task that is looked for; with several replicas its maker may be asked late. */
const endSecondsMax = 120;

export interface LiveGithub extends Live {
  /** Of a grant with access github.repository and action read. */
  readonly tool: string;
  /** `OWNER/REPOSITORY` of the grant, and another private one of the same installation. */
  readonly allowed: string;
  readonly neighbour: string;
  readonly api: string;
}

/**
 * What docs/clouds/github.md claims of one token, tried at GitHub through a running broker: for people who have an App;
 * nothing runs it by itself. It writes nothing: the one write that it tries lacks what GitHub demands of one.
 * True when everything held.
 */
export async function tryGithub(options: LiveGithub): Promise<boolean> {
  const { mayfly, template, params, tool, allowed, neighbour } = options;
  const { claim, held } = startClaims(options);
  let token = '';
  const objective = 'live test of docs/clouds/github.md';
  await mayfly.run({ template, params, objective }, async (task) => {
    const { authorization = '' } = await task.headers(tool, `https://github.com/${allowed}`);
    token = authorization;
    claim('the repository', await useFile(options, allowed, token), [200]);
    // A private one that a token does not see is not there.
    claim('its neighbour', await useFile(options, neighbour, token), [404]);
    claim('a write', await useFile(options, allowed, token, 'PUT'), [403]);
  });
  const ended = Date.now();
  const status = await untilRefused(() => useFile(options, allowed, token), ended + endSecondsMax * 1000);
  claim(`${((Date.now() - ended) / 1000).toFixed(1)} s after the end of its task`, status, [401]);
  return held();
}

async function useFile(
  { api }: LiveGithub,
  repository: string,
  authorization: string,
  method = 'GET',
): Promise<number> {
  const headers = { authorization, accept: 'application/vnd.github+json', 'user-agent': 'mayfly' };
  // Without the hash of the file that it would replace: 422 even for a token that may write.
  const body = method === 'GET' ? {} : { body: JSON.stringify({ message: 'x', content: 'eA==' }) };
  return statusOf(`${api}/repos/${repository}/contents/README.md`, { method, headers, ...body });
}

if (import.meta.main)
  await runLive({
    usage: `npm run -s live -- github --template NAME [--param name=value]... --tool TOOL
  --allowed OWNER/REPOSITORY    of a grant with access github.repository and action read; it has a README.md
  --neighbour OWNER/REPOSITORY  another private one of the same installation
  [--api URL]                   default https://api.github.com`,
    flags: { tool: null, allowed: null, neighbour: null, api: 'https://api.github.com' },
    run: (live, flag) =>
      tryGithub({
        ...live,
        ...{ tool: flag('tool'), allowed: flag('allowed'), neighbour: flag('neighbour'), api: flag('api') },
      }),
  });
