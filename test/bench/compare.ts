import { type Caller, createProofs } from './identities.ts';
import type { Installation } from './installation.ts';
import { load, round } from './load.ts';

interface Options {
  readonly seconds: number;
  readonly connections: number;
  /** Bodies of the plain exchange, each with a fresh assertion. */
  plain(count: number): () => string | undefined;
  say(line: string): void;
}

interface Compared {
  readonly perSecond: number;
  readonly p99Ms: number;
  /** Of the plain exchange of the same round; below 1 it costs something. */
  readonly ofPlain: number;
}

/** Above what one event loop answers in a second. */
const answersPerSecondMax = 2_500;
const warmUpSeconds = 2;

/**
 * What a DPoP proof and each type of caller cost beside the plain exchange (an ES256 assertion of an OIDC issuer), in
 * turns, so that a noisy neighbour disturbs both: each is measured next to a plain one of its own.
 */
export async function compareCallers(
  installation: Installation,
  options: Options,
): Promise<Readonly<Record<string, Compared>>> {
  const { seconds, plain, say } = options;
  const count = (seconds + warmUpSeconds) * answersPerSecondMax;
  const proof = createProofs(`${installation.origin}/token`);
  const compared: Record<string, Compared> = {};
  const measure = async (
    name: string,
    next: () => string | undefined,
    headers?: () => Record<string, string>,
  ) => {
    const beside = await run(installation, options, plain(count));
    const own = await run(installation, options, next, headers);
    compared[name] = {
      perSecond: own.perSecond,
      p99Ms: own.p99Ms,
      ofPlain: round(own.perSecond / beside.perSecond),
    };
    say(`${name}: ${own.perSecond}/s beside ${beside.perSecond}/s plain`);
  };
  const proofs = Array.from({ length: count }, () => ({ dpop: proof() }));
  await measure('dpop', plain(count), () => proofs.pop() ?? {});
  for (const caller of installation.callers) {
    say(`  signing assertions of ${caller.name}`);
    await measure(caller.name, await bodiesOf(installation, caller, count));
  }
  return compared;
}

async function run(
  { origin }: Installation,
  { seconds, connections, say }: Options,
  next: () => string | undefined,
  headers?: () => Record<string, string>,
) {
  const target = { origin, path: '/token', connections, next, ...(headers === undefined ? {} : { headers }) };
  await load({ ...target, seconds: warmUpSeconds });
  const result = await load({ ...target, seconds });
  if (result.refused > 0) say(`  ${result.refused} refused, the first: ${result.firstRefusal}`);
  return result;
}

/** Many tasks, so that no single grant row is what is measured; a reusable assertion is used again, as platforms do. */
async function bodiesOf(
  installation: Installation,
  caller: Caller,
  count: number,
): Promise<() => string | undefined> {
  const tasks: string[] = [];
  for (let index = 0; index < 100; index += 1) {
    const answer = await fetch(`${installation.origin}/v1/tasks`, {
      method: 'POST',
      headers: { authorization: `Bearer ${caller.make()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ template: `bench-${caller.name}` }),
    });
    const body: unknown = await answer.json();
    if (answer.status !== 201) throw new Error(`${caller.name}: ${JSON.stringify(body)}`);
    tasks.push(String(Reflect.get(Object(body), 'id')));
  }
  const shared = caller.make();
  const bodies = Array.from({ length: count }, (_, index) => {
    const detail = {
      ...{ type: 'mayfly_tool_call', task: tasks[index % tasks.length], tool: 'report.post' },
      identifier: 'https://reports.example/2026q3/report',
    };
    return new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      subject_token: caller.once ? caller.make() : shared,
      authorization_details: JSON.stringify([detail]),
    }).toString();
  });
  return () => bodies.pop();
}
