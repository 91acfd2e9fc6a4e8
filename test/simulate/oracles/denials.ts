import type { DenyEntry } from '@mayfly/core';
import { settings } from '../documents.ts';
import { type Evidence, whyEnded } from './evidence.ts';

/** What a deny document promises: written by one at a time, acknowledged once read, and kept in force (I4, I5). */
export class DenialOracle {
  readonly #evidence: Evidence;
  readonly #requestedMs = new Map<number, number>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  /** A deny document is acknowledged: somebody has read it where it is in force. */
  onAcknowledged(version: number): void {
    const { rows, clouds } = this.#evidence;
    const newest = Math.max(...this.#requestedMs.keys());
    if (version < newest)
      this.#evidence.violated(`I4: deny document ${version} was acknowledged though ${newest} is requested`);
    // Without entries there is none to be read.
    if (rows.denyEntries.size > 0 && !clouds.denying.wasRead(version))
      this.#evidence.violated(`I4: deny document ${version} was acknowledged and never read back`);
    for (const { sourceIdentity, acknowledgedAt } of rows.denyEntries.values())
      if (acknowledgedAt !== null && !clouds.denying.denies(sourceIdentity) && !clouds.denying.isOverwritten)
        this.#evidence.violated(`I4: the denial of ${sourceIdentity} is acknowledged and not in force`);
  }

  /** A version is given out with these added: nobody is denied whom nothing has ended. */
  onRequested(version: number, added: readonly DenyEntry[]): void {
    const { rows, violated } = this.#evidence;
    for (const { sourceIdentity } of added)
      for (const { record, plan } of rows.issuances.values())
        if (plan?.reach === sourceIdentity && whyEnded(this.#evidence, record.grantId, plan) === null)
          violated(`I4: ${sourceIdentity} is denied though nothing has ended it`);
    this.#requestedMs.set(version, this.#evidence.rows.now().getTime());
  }

  /** A version lands for the first time: on top of a newer one only if its writer has lost the lease meanwhile. */
  onLanded({ version, newest }: { readonly version: number; readonly newest: number }): void {
    const requestedMs = this.#requestedMs.get(version) ?? 0;
    const leaseMs = settings.denyWriterLease * 1000;
    if (version < newest && this.#evidence.rows.now().getTime() - requestedMs < leaseMs)
      this.#evidence.violated(`I4: deny document ${version} was written beside ${newest}, by two at once`);
  }

  /** I5: everything has been up for a while. */
  onHealed(): void {
    const { rows, clouds, violated } = this.#evidence;
    if (clouds.denying.isOverwritten) violated('I5: an overwritten deny document was not written again');
    for (const { version, ackedVersion } of rows.denyDocuments.values())
      if (version !== ackedVersion) violated(`I5: deny document ${version} was never acknowledged`);
  }
}
