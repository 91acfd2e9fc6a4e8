import { Fault, type MintPlan } from '@mayfly/core';

/** One credential as the cloud itself knows it. */
export interface CloudCredential {
  readonly keyId: string;
  readonly issuanceId: string;
  readonly purpose: 'agent' | 'base';
  readonly reach: string;
  readonly identifier: string;
  readonly actions: readonly string[];
  readonly expiresAt: Date;
}

/** What the next call of the cloud does instead of answering. */
export type CloudFault =
  /** Says no: surely nothing happened. */
  | 'refused'
  /** The connection breaks before the request arrives; the caller cannot know. */
  | 'not-applied'
  /** The connection breaks after the request took effect; the caller cannot know. */
  | 'applied'
  /** Answers only when the caller gives up; nothing took effect. */
  | 'hangs'
  /** Answers a credential that lives an hour longer than was asked for. */
  | 'lies'
  /** Answers a credential of another identity, or of more, than was asked for. */
  | 'lies-identity'
  /** Asks to come back later: surely nothing happened. */
  | 'throttled';

/** By how much a cloud lies about the life of what it made. */
const lieSeconds = 3600;

/** A cloud with a ledger of its own: what was minted, deleted and denied, apart from what the broker believes. */
export class FakeCloud {
  readonly minted: CloudCredential[] = [];
  /** Reaches that are denied, and issuances that are deleted. */
  readonly denied = new Set<string>();
  readonly deleted = new Set<string>();
  /** Calls that hang now; resolves when the next one begins to. */
  #hanging = Promise.withResolvers<void>();
  #fault: CloudFault | undefined;
  #held: { readonly arrived: () => void; readonly released: Promise<void> } | undefined;
  #serial = 0;

  failNext(fault: CloudFault): void {
    this.#fault = fault;
  }

  /** The next call arrives, and takes effect only at `release`. */
  hold(): { readonly held: Promise<void>; release(): void } {
    const [arrived, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    this.#held = { arrived: arrived.resolve, released: released.promise };
    return { held: arrived.promise, release: released.resolve };
  }

  /** Settles once a call hangs. */
  get hanging(): Promise<void> {
    return this.#hanging.promise;
  }

  mint(plan: MintPlan, signal: AbortSignal): Promise<CloudCredential> {
    return this.#call(signal, (lie) => {
      this.#serial += 1;
      const credential: CloudCredential = {
        keyId: `FAKEKEY${this.#serial}`,
        issuanceId: plan.issuanceId,
        purpose: plan.purpose,
        reach: plan.reach,
        identifier: lie === 'lies-identity' ? `${plan.identifier}-other` : plan.identifier,
        actions: plan.actions,
        expiresAt: new Date(Date.parse(plan.notAfter) + (lie === 'lies' ? lieSeconds * 1000 : 0)),
      };
      this.minted.push(credential);
      return credential;
    });
  }

  /** True when there was something to delete. */
  remove(issuanceId: string, signal: AbortSignal): Promise<boolean> {
    return this.#call(signal, () => {
      const there = this.minted.some((one) => one.issuanceId === issuanceId) && !this.deleted.has(issuanceId);
      if (there) this.deleted.add(issuanceId);
      return there;
    });
  }

  /** From now on no credential of this reach opens anything. */
  deny(reach: string, signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => void this.denied.add(reach));
  }

  /** Would the cloud itself let this credential in? */
  accepts(credential: CloudCredential, now: Date): boolean {
    const taken = this.deleted.has(credential.issuanceId) || this.denied.has(credential.reach);
    return !taken && now < credential.expiresAt;
  }

  async #call<T>(signal: AbortSignal, apply: (lie: CloudFault | undefined) => T): Promise<T> {
    const [fault, held] = [this.#fault, this.#held];
    this.#fault = undefined;
    this.#held = undefined;
    held?.arrived();
    await held?.released;
    const lost = () =>
      new Fault('provider_unavailable', { effect: 'unknown', detail: `cloud: ${fault ?? 'aborted'}` });
    if (fault === 'refused') throw new Fault('provider_refused', { effect: 'none', detail: 'AccessDenied' });
    if (fault === 'throttled')
      throw new Fault('provider_unavailable', { effect: 'none', detail: 'SlowDown' });
    if (fault === 'not-applied') throw lost();
    if (fault === 'hangs') {
      await this.#untilAborted(signal);
      throw lost();
    }
    const answer = apply(fault);
    if (fault === 'applied') throw lost();
    return answer;
  }

  #untilAborted(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    this.#hanging.resolve();
    this.#hanging = Promise.withResolvers<void>();
    return aborted;
  }
}
