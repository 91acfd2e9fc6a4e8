import { Refusal } from '@mayfly/core';

/** Anyone can start a sign-in, and each leaves rows for minutes: so many a second and replica, and no more. */
export function createStarts({ perSecond, now }: { perSecond: number; now: () => Date }): () => void {
  let second = 0;
  let started = 0;
  return () => {
    const current = Math.floor(now().getTime() / 1000);
    if (current !== second) {
      second = current;
      started = 0;
    }
    started += 1;
    if (started > perSecond) throw new Refusal('sign_in_rate');
  };
}
