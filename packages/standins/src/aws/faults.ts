/** What shall go wrong with the next calls of an action; `*` is any. */
export interface FaultPlan {
  readonly action: string;
  readonly mode:
    | 'refuse'
    | 'applied_and_failed'
    | 'cut'
    | 'applied_and_cut'
    | 'delay'
    | 'lie_longer'
    | 'lie_identity'
    | 'hold';
  readonly times?: number;
  readonly status?: number;
  readonly code?: string;
  readonly ms?: number;
}

interface Armed {
  readonly plan: FaultPlan;
  left: number;
  readonly released: Promise<void>;
  release(): void;
}

export class Faults {
  #armed: Armed[] = [];
  #onTaken = Promise.withResolvers<void>();

  /** Returns the release of a held call. */
  arm(plan: FaultPlan): () => void {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#armed.push({ plan, left: plan.times ?? 1, released, release });
    return release;
  }

  /** The fault of this call, used up by it. */
  take(action: string): { readonly plan: FaultPlan; readonly released: Promise<void> } | undefined {
    const armed = this.#armed.find(
      ({ plan, left }) => left > 0 && (plan.action === action || plan.action === '*'),
    );
    if (armed === undefined) return undefined;
    armed.left -= 1;
    this.#onTaken.resolve();
    this.#onTaken = Promise.withResolvers<void>();
    return armed;
  }

  /** Settles once the next armed call arrives. */
  get taken(): Promise<void> {
    return this.#onTaken.promise;
  }

  clear(): void {
    for (const { release } of this.#armed) release();
    this.#armed = [];
  }
}
