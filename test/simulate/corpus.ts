/**
 * Seeds that broke an invariant once, and why. A seed means this run only as long as nothing draws otherwise: the unit
 * tests beside the mended code hold each case for good, and the planted bugs hold that the simulator still finds it.
 */
export const corpus: readonly { readonly seed: number; readonly found: string }[] = [
  { seed: 4_971, found: 'a mint landed after two looks of the reaper, the first of which had failed' },
  { seed: 498, found: 'a deny document whose write was in doubt was never acknowledged' },
];
