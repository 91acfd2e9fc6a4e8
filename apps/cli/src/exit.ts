/** Exit codes of contract.md section 2: 0 yes or done, 1 no or refused, 2 usage or configuration, 3 could not find out. */
export type ExitCode = 0 | 1 | 2 | 3;

/** An end with a sentence on standard error. */
export class Exit extends Error {
  readonly code: ExitCode;

  constructor(code: ExitCode, message: string) {
    super(message);
    this.name = 'Exit';
    this.code = code;
  }
}

export function fail(code: ExitCode, message: string): never {
  throw new Exit(code, message);
}
