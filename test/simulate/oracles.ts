import { CredentialOracle } from './oracles/credentials.ts';
import { DenialOracle } from './oracles/denials.ts';
import type { Evidence } from './oracles/evidence.ts';
import { IntentOracle } from './oracles/intents.ts';
import { TaskOracle } from './oracles/tasks.ts';

/**
 * Looks at the tables and the ledgers of the clouds, never at what the broker says of itself. The first claim that does
 * not hold is kept; everything after it may be its consequence.
 */
export class Oracles {
  readonly intents: IntentOracle;
  readonly credentials: CredentialOracle;
  readonly denials: DenialOracle;
  readonly tasks: TaskOracle;
  readonly #trace: ((text: string) => void) | null;
  #problem: string | null = null;

  constructor(given: Omit<Evidence, 'violated'>, trace: ((text: string) => void) | null) {
    this.#trace = trace;
    const evidence = { ...given, violated: (claim: string) => this.violated(claim) };
    this.intents = new IntentOracle(evidence);
    this.credentials = new CredentialOracle(evidence);
    this.denials = new DenialOracle(evidence);
    this.tasks = new TaskOracle(evidence);
  }

  get problem(): string | null {
    return this.#problem;
  }

  violated(claim: string): void {
    if (this.#problem === null) this.#trace?.(`!! ${claim}`);
    this.#problem ??= claim;
  }

  /** After a step that changed something. */
  onStep(): void {
    this.credentials.onStep();
    this.tasks.onStep();
  }

  /** Everything has been up since then, which is longer ago than any backoff. */
  onCalm(since: Date): void {
    this.credentials.onCalm(since);
    this.tasks.onCalm(since);
  }

  /** Everything has been up for longer than any bound. */
  onHealed(): void {
    this.denials.onHealed();
    this.credentials.onHealed();
  }

  /** Everything is over. */
  atEnd(): void {
    this.credentials.atEnd();
    this.intents.atEnd();
  }
}
