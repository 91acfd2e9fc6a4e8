import { test } from '@jest/globals';

/** Set by `npm run test:ceph`. */
export const endpoint = process.env['MAYFLY_TEST_CEPH'];

/** A test that needs Ceph: skipped, with the reason printed once per file, where none is there. */
export const cephTest: (claim: string, run: (ceph: string) => Promise<unknown>, timeoutMs?: number) => void =
  endpoint === undefined
    ? (claim) => test.skip(claim, () => undefined)
    : (claim, run, timeoutMs) => test(claim, async () => void (await run(endpoint)), timeoutMs);

if (endpoint === undefined) console.log('skipped: no Ceph here; `npm run test:ceph` starts one');
