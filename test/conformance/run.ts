import { type Case, CaseFailed } from './case.ts';
import type { Profile } from './profile.ts';
import { createSuite, isLeftOut } from './suite.ts';

export interface Result {
  readonly id: string;
  readonly rule: string;
  readonly source: string;
  readonly must: Case['must'];
  readonly outcome: 'ok' | 'FAILED' | 'skipped';
  /** Why it failed or was skipped. */
  readonly says?: string;
  readonly seconds: number;
}

/** Cases at once: enough to wait for the network only, few enough for a server on a small machine. */
const atOnce = 6;

/** Runs the cases against `base`, several at a time, and answers their results in the order given. */
export async function runCases(
  cases: readonly Case[],
  profile: Profile,
  options: { base?: string; mtlsBase?: string } = {},
): Promise<readonly Result[]> {
  const suite = createSuite(profile, options);
  const results = new Map<string, Result>();
  const waiting = [...cases];
  const work = async () => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift())
      results.set(one.id, await runCase(one, profile, suite));
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, work));
  } finally {
    suite.close();
  }
  return cases.flatMap(({ id }) => results.get(id) ?? []);
}

async function runCase(one: Case, profile: Profile, suite: Parameters<Case['run']>[0]): Promise<Result> {
  const { id, rule, source, must } = one;
  const said = { id, rule, source, must };
  const leftOut = isLeftOut(one, profile);
  if (leftOut !== undefined) return { ...said, outcome: 'skipped', says: leftOut, seconds: 0 };
  const started = performance.now();
  const seconds = () => Math.round(performance.now() - started) / 1000;
  try {
    await one.run(suite);
    return { ...said, outcome: 'ok', seconds: seconds() };
  } catch (error) {
    // A server that cannot be reached fails every case; what it says is no secret of anybody.
    const says = error instanceof CaseFailed ? error.message : `could not be run: ${String(error)}`;
    return { ...said, outcome: 'FAILED', says, seconds: seconds() };
  }
}
