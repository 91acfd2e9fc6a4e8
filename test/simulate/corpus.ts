/**
 * Seeds that the product broke an invariant with once, and why. A seed means the same run only as long as nothing draws
 * otherwise: unit tests beside the mended code hold each case for good, and each of these is a planted bug as well.
 */
export const corpus: readonly { readonly seed: number; readonly found: string }[] = [
  { seed: 1_078, found: 'absent-is-final-at-a-second-look: the mint was still under way' },
  { seed: 3_010, found: 'absent-is-final-at-a-second-look' },
  { seed: 636, found: 'write-in-doubt-never-acknowledged: nobody would have noticed its undoing' },
  { seed: 1_023_528, found: 'claimed ahead when the provider went away, and never started' },
  { seed: 1_673, found: 'write-in-doubt-never-acknowledged' },
];
