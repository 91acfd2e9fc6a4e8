import { transportMutants } from './mutants/a-transport.ts';
import { exchangeMutants } from './mutants/b-exchange.ts';
import { targetMutants } from './mutants/c-target.ts';
import { proofMutants } from './mutants/d-proofs.ts';
import { callerMutants } from './mutants/f-caller.ts';
import { metadataMutants, revocationMutants } from './mutants/h-endpoints.ts';
import type { Mutant } from './mutants/mutant.ts';

/** Servers that are each wrong in one thing: what shows that a case looks at what it says. */
export const mutants: readonly Mutant[] = [
  ...[...transportMutants, ...exchangeMutants, ...targetMutants, ...proofMutants, ...callerMutants],
  ...[...revocationMutants, ...metadataMutants],
];
