import type { Random } from '@mayfly/testkit';

/** What becomes of one awaited effect. */
export type Fate =
  | 'ok'
  /** Never arrives; the caller cannot know. */
  | 'lost'
  /** Takes effect, and its answer is lost. */
  | 'answer lost'
  /** Says no: surely nothing happened. */
  | 'refused'
  /** Takes effect long after, when the caller may have given up. */
  | 'late'
  /** Takes effect twice. */
  | 'twice'
  /** The process dies before it sends anything. */
  | 'crash before'
  /** The process dies once it has sent it; it takes effect all the same. */
  | 'crash after'
  /** The process stands still before it hears the answer. */
  | 'pause';

/** The world of one seed: how often things fail, and how far clocks differ. */
export interface Weather {
  /** Of effects, the part that does not simply work. */
  readonly faultRate: number;
  readonly fates: readonly [Fate, ...Fate[]];
  /** Pauses may be longer than every deadline of the broker. */
  readonly longPauses: boolean;
  /** How many times slower than usual clouds answer. */
  readonly slowness: number;
}

/** Nothing fails. */
export const calm: Weather = { faultRate: 0, fates: ['ok'], longPauses: false, slowness: 1 };
const all: readonly Fate[] = [
  'lost',
  'answer lost',
  'refused',
  'late',
  'twice',
  'crash before',
  'crash after',
  'pause',
];

/**
 * Mostly a part of what can happen, so that each part happens often: what needs three late answers is not found among
 * eight kinds of trouble. A fifth of the seeds is calm: races alone must break nothing either.
 */
export function drawWeather(random: Random): Weather {
  const faultRate = random.pick([0, 0.02, 0.06, 0.15, 0.3]);
  const [first, ...more] = all.filter(() => random.below(3) === 0);
  if (faultRate === 0 || first === undefined) return calm;
  const [longPauses, slowness] = [random.below(2) === 0, random.pick([1, 1, 30])];
  return { faultRate, fates: [first, ...more], longPauses, slowness };
}

export function drawFate(weather: Weather, random: Random): Fate {
  return weather.faultRate > 0 && random.fraction() < weather.faultRate ? random.pick(weather.fates) : 'ok';
}

/** Mostly short, now and then long enough that others overtake it. */
export function drawDelayMs(random: Random, usualMs: number): number {
  const shape = random.fraction();
  if (shape < 0.2) return 0;
  return shape < 0.93 ? random.below(usualMs) : random.below(usualMs * 50);
}

/** Within the longest pause that the settings allow (15 s), or beyond the reap age. */
export function drawPauseMs(weather: Weather, random: Random): number {
  return weather.longPauses && random.below(2) === 0 ? 20_000 + random.below(100_000) : random.below(14_000);
}
