import type { ChaosScene } from './scene.ts';

const skewMsMax = 12_000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Chaos {
  readonly scene: ChaosScene;
  readonly random: () => number;
  /** Told at each kill. */
  killed(): void;
}

/** One after another; each is over when it settles, and leaves everything up. */
const faults: Readonly<Record<string, (chaos: Chaos) => Promise<void>>> = {
  'broker killed': async ({ scene, random, killed }) => {
    const replica = any(scene.replicas, random);
    await replica.end();
    killed();
    await pause(random() * 1_000);
    await replica.start();
  },
  'broker stands still': async ({ scene, random }) => {
    const replica = any(scene.replicas, random);
    replica.signal('SIGSTOP');
    await pause(500 + random() * 4_000);
    replica.signal('SIGCONT');
  },
  'postmaster killed': async ({ scene, killed }) => {
    killed();
    await scene.killPostgres();
  },
  'clock of a replica off': async ({ scene, random }) => {
    const replica = any(scene.replicas, random);
    await replica.end();
    // Within what a broker may be off and still issues: half of the skew that it allows.
    await replica.start(Math.round((random() * 2 - 1) * skewMsMax));
  },
  'disk full': async ({ scene, random }) => {
    const { disk } = scene;
    if (typeof disk === 'string') return;
    disk.fill();
    try {
      await refusesToGrow(scene);
      await pause(1_000 + random() * 2_000);
    } finally {
      disk.free();
    }
    await scene.postgresBack();
  },
  'database connections cut': async ({ scene }) => scene.proxy.cut(),
  'database slow': async ({ scene, random }) => {
    scene.proxy.delay(20 + random() * 200);
    await pause(2_000);
    scene.proxy.delay(0);
  },
  'cloud connections cut': async ({ scene }) => scene.cloudProxy.cut(),
  'network to the cloud slow': async ({ scene, random }) => {
    scene.cloudProxy.delay(50 + random() * 500);
    await pause(2_000);
    scene.cloudProxy.delay(0);
  },
  'cloud answers nothing': async ({ scene, random }) => {
    scene.cloudProxy.blackHole(true);
    await pause(500 + random() * 3_000);
    scene.cloudProxy.blackHole(false);
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

/** The fault must be one: PostgreSQL has run out of disk, by an error or by its end. */
async function refusesToGrow({ sql }: ChaosScene): Promise<void> {
  const text = `create table never as select repeat('x', 1000) from generate_series(1, 100000)`;
  const grew = await sql(text).then(
    () => true,
    () => false,
  );
  if (grew) throw new Error('the disk was not full');
}

export const faultNames = Object.keys(faults);

export interface FaultOptions {
  stopped(): boolean;
  say(line: string): void;
  /** Those to choose from; all when left out. */
  readonly only?: readonly string[];
}

/** Counts of what was done, until `stopped`. Each round does each once, so that a short run meets them all. */
export async function runFaults(
  chaos: Chaos,
  { stopped, say, only = faultNames }: FaultOptions,
): Promise<Readonly<Record<string, number>>> {
  const done: Record<string, number> = {};
  const next: string[] = [];
  while (!stopped()) {
    if (next.length === 0) next.push(...shuffled(only, chaos.random));
    const name = next.shift() ?? '';
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
