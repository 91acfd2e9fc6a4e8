import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Lines of a child's standard output, waited for by their first word. */
export class Lines {
  readonly #seen: string[] = [];
  #wake: () => void = () => undefined;

  constructor(child: ChildProcess) {
    if (child.stdout === null) throw new TypeError('no standard output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#seen.push(line);
      this.#wake();
    });
    child.once('exit', () => {
      this.#seen.push('EXIT');
      this.#wake();
    });
  }

  async next(word: string): Promise<string> {
    for (;;) {
      const index = this.#seen.findIndex((line) => line.startsWith(word));
      if (index >= 0) return this.#seen.splice(index, 1)[0] ?? '';
      if (this.#seen.includes('EXIT')) throw new Error(`the child ended before ${word}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
