import type { ChaosScene } from './scene.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Chaos {
  readonly scene: ChaosScene;
  readonly random: () => number;
}

/** One after another; each is over when it settles, and leaves everything up. */
const faults: Readonly<Record<string, (chaos: Chaos) => Promise<void>>> = {
  'broker killed': async ({ scene, random }) => {
    const replica = any(scene.replicas, random);
    await replica.end();
    await pause(random() * 1_000);
    await replica.start();
  },
  'broker stands still': async ({ scene, random }) => {
    const replica = any(scene.replicas, random);
    replica.signal('SIGSTOP');
    await pause(500 + random() * 4_000);
    replica.signal('SIGCONT');
  },
  'postmaster killed': ({ scene }) => scene.killPostgres(),
  'database connections cut': async ({ scene }) => scene.proxy.cut(),
  'database slow': async ({ scene, random }) => {
    scene.proxy.delay(20 + random() * 200);
    await pause(2_000);
    scene.proxy.delay(0);
  },
  'cloud throttles': async (chaos) =>
    arm(chaos, { mode: 'refuse', status: 400, code: 'Throttling', times: 5 }),
  'cloud fails': async (chaos) =>
    arm(chaos, { mode: 'refuse', status: 503, code: 'ServiceUnavailable', times: 5 }),
  'cloud applies and fails': async (chaos) => arm(chaos, { mode: 'applied_and_failed', times: 3 }),
  'cloud cuts': async (chaos) => arm(chaos, { mode: 'cut', times: 3 }),
  'cloud applies and cuts': async (chaos) => arm(chaos, { mode: 'applied_and_cut', times: 3 }),
  'cloud slow': async (chaos) => arm(chaos, { mode: 'delay', ms: 1_500, times: 5 }),
  'cloud lies about the end': async (chaos) => arm(chaos, { mode: 'lie_longer', times: 2 }),
};

export const faultNames = Object.keys(faults);

/** Counts of what was done, until `stopped`. The first round does each once, so that a short run meets them all. */
export async function runFaults(
  chaos: Chaos,
  { stopped, say }: { stopped: () => boolean; say: (line: string) => void },
): Promise<Readonly<Record<string, number>>> {
  const done: Record<string, number> = {};
  const first = shuffled(faultNames, chaos.random);
  while (!stopped()) {
    const name = first.shift() ?? any(faultNames, chaos.random);
    say(name);
    await faults[name]?.(chaos);
    done[name] = (done[name] ?? 0) + 1;
    await pause(200 + chaos.random() * 800);
  }
  chaos.scene.world.clouds.aws.faults.clear();
  return done;
}

type Plan = Parameters<ChaosScene['world']['clouds']['aws']['faults']['arm']>[0];

function arm({ scene, random }: Chaos, plan: Omit<Plan, 'action'>): void {
  const actions = [
    'AssumeRoleWithWebIdentity',
    'GetScopedCredentials',
    'AssumeRole',
    'PutRolePolicy',
    'GetRolePolicy',
  ];
  scene.world.clouds.aws.faults.arm({ action: any(actions, random), ...plan });
}

function any<T>(of: readonly T[], random: () => number): T {
  const one = of[Math.floor(random() * of.length)];
  if (one === undefined) throw new RangeError('nothing to choose from');
  return one;
}

function shuffled<T>(of: readonly T[], random: () => number): T[] {
  return of
    .map((one) => [random(), one] as const)
    .sort(([one], [two]) => one - two)
    .map(([, one]) => one);
}
