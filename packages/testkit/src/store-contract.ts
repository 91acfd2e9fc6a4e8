import { afterAll, beforeAll, describe } from '@jest/globals';
import { describeDenyStore } from './store-contract/deny-store.ts';
import { describeLedger } from './store-contract/ledger.ts';
import { describeLineage } from './store-contract/lineage.ts';
import { describeOpening } from './store-contract/opening.ts';
import { describeReviews } from './store-contract/reviews.ts';
import { describeRevocation } from './store-contract/revocation.ts';
import { describeRevocations } from './store-contract/revocations.ts';
import { Scene, type StoreUnderTest } from './store-contract/scene.ts';
import { describeSecurityEvents } from './store-contract/security-events.ts';
import { describeSightings } from './store-contract/sightings.ts';
import { describeTasks } from './store-contract/tasks.ts';
import { describeWorkQueue } from './store-contract/work-queue.ts';

export type { StoreUnderTest };

/**
 * Claims that every store holds, in memory or not. One store serves the whole suite; `now` and ids may be real, so
 * the claims leave room for the time that a statement takes.
 */
export function describeStore(
  name: string,
  make: () => Promise<{ readonly store: StoreUnderTest; close(): Promise<void> }>,
): void {
  describe(name, () => {
    let made: Awaited<ReturnType<typeof make>> | undefined;
    beforeAll(async () => {
      made = await make();
    }, 120_000);
    afterAll(async () => made?.close(), 60_000);
    const scene = () => {
      if (made === undefined) throw new Error('the store was not made');
      return new Scene(made.store);
    };
    describeLedger(scene);
    describeOpening(scene);
    describeLineage(scene);
    describeRevocation(scene);
    describeRevocations(scene);
    describeReviews(scene);
    describeSecurityEvents(scene);
    describeSightings(scene);
    describeTasks(scene);
    describeWorkQueue(scene);
    describeDenyStore(scene);
  });
}
