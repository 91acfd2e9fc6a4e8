import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Mayfly } from '@mayfly/sdk';

/** What every live script is given: a running broker, and the task that it opens there. */
export interface Live {
  readonly mayfly: Mayfly;
  readonly template: string;
  readonly params: Readonly<Record<string, string>>;
  say(line: string): void;
}

/** A line each step, in the order they are tried. */
export interface Claims {
  claim(what: string, status: number, wanted: readonly number[]): void;
  /** Did every step hold until now? */
  held(): boolean;
}

export function startClaims({ say }: Pick<Live, 'say'>): Claims {
  let failed = 0;
  return {
    claim: (what, status, wanted) => {
      const ok = wanted.includes(status);
      if (!ok) failed += 1;
      say(`${ok ? 'held  ' : 'FAILED'} ${what}: ${status}${ok ? '' : `, not ${wanted.join(' or ')}`}`);
    },
    held: () => failed === 0,
  };
}

/** Between two looks at whether a credential is dead. */
const lookMs = 500;

/** The first status that is not 200, or 200 where there was none until then (ms since 1970). */
export async function untilRefused(status: () => Promise<number>, untilMs: number): Promise<number> {
  for (;;) {
    const seen = await status();
    if (seen !== 200 || Date.now() >= untilMs) return seen;
    await delay(lookMs);
  }
}

export async function statusOf(url: string | URL, init: RequestInit = {}): Promise<number> {
  const answer = await fetch(url, { redirect: 'error', ...init });
  await answer.body?.cancel();
  return answer.status;
}

export interface LiveScript<Flag extends string> {
  readonly usage: string;
  /** By name: its default, `null` where it must be given, `false` for a switch. */
  readonly flags: Readonly<Record<Flag, string | null | false>>;
  /** `flag` answers '' for what was left out and for a switch that is off. True when every step held. */
  run(live: Live, flag: (name: Flag) => string): Promise<boolean>;
}

const ofBroker =
  'The broker and who you are: MAYFLY_SERVER, MAYFLY_ASSERTION_COMMAND, ... (packages/sdk/README.md)';

/** Ends the process. Exit code 0: every step held; 1: one did not; 2: usage. */
export async function runLive<Flag extends string>({ usage, flags, run }: LiveScript<Flag>): Promise<never> {
  const named = Object.entries<string | null | false>({ ...flags, template: null });
  const help = (problem: string): never => {
    console.error(`${problem}${usage}\n${ofBroker}`);
    process.exit(2);
  };
  const values = readOptions(named, (problem) => help(`${problem}\n`));
  const given: Readonly<Record<string, unknown>> = values;
  const flag = (name: string) =>
    String(given[name] ?? named.find(([one]) => one === name)?.[1] ?? '').replace(/^false$/, '');
  if (named.some(([name, value]) => value === null && flag(name) === '')) help('');
  const params = Object.fromEntries(
    values.param.map((pair) => [pair.split('=')[0] ?? '', pair.slice(pair.indexOf('=') + 1)]),
  );
  const say = (line: string) => console.log(line);
  try {
    const held = await run({ mayfly: new Mayfly(), template: flag('template'), params, say }, flag);
    say(held ? 'every step held' : 'not every step held');
    process.exit(held ? 0 : 1);
  } catch (error) {
    // The sdk's errors say what to do; a stack would say where in this script.
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}

function readOptions(
  named: readonly (readonly [string, string | null | false])[],
  refuse: (problem: string) => never,
) {
  try {
    return parseArgs({
      options: {
        ...Object.fromEntries(
          named.map(([name, value]) => [name, { type: value === false ? 'boolean' : 'string' } as const]),
        ),
        param: { type: 'string', multiple: true, default: [] },
      },
    }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}
