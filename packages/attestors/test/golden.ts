import { readFileSync } from 'node:fs';
import type { AttestorUnderTest, GoldenToken } from '@mayfly/testkit/contracts';
import { createAttestor } from '../src/create-attestor.ts';
import { attestorOptions } from './issuer.ts';

/** A golden token of src/, held against the attestor of its type. */
export function underTest(
  file: string,
  more: Partial<Pick<AttestorUnderTest, 'keyUse' | 'needsIssAndIat'>> = {},
): AttestorUnderTest {
  return {
    golden: readGolden(file),
    create: (issuer, readFile) => createAttestor(issuer, attestorOptions({ readFile })),
    keyUse: 'sig',
    needsIssAndIat: true,
    ...more,
  };
}

export function readGolden(file: string): GoldenToken {
  return JSON.parse(readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8')) as GoldenToken; // Our own file.
}
