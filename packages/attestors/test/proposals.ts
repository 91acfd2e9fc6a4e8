import { expect, test } from '@jest/globals';
import type { TrustedIssuer } from '@mayfly/core';
import { compact, makeKey, pattern } from '@mayfly/testkit';
import { createAttestor } from '../src/create-attestor.ts';
import { readGolden } from './golden.ts';
import { attestorOptions, outcome, trusted } from './issuer.ts';

/** Claims of a forge's attestor about the jobs of pull and merge requests. */
export function describeProposals(options: {
  readonly file: string;
  readonly claim: string;
  readonly proposals: readonly string[];
  readonly others: readonly string[];
}): void {
  const { file, claim, proposals, others } = options;
  const golden = readGolden(file);
  const key = makeKey('RS256', 'k');
  const outcomeOf = (value: unknown, pullRequests: TrustedIssuer['pullRequests']) => {
    const { subjects, ...issuer } = golden.issuer;
    const document = trusted({
      ...{ ...issuer, audience: 'https://mayfly.example', subjects: subjects.map(pattern) },
      ...{ algorithms: ['RS256'], pullRequests },
    });
    const readFile = async () => JSON.stringify({ keys: [key.jwk] });
    const token = compact({ alg: 'RS256', kid: 'k' }, { ...golden.payload, [claim]: value }, key);
    const now = new Date(golden.now);
    const signal = new AbortController().signal;
    return outcome(() =>
      createAttestor(document, attestorOptions({ readFile })).attest(token, { now, signal }),
    );
  };

  test.each(proposals)('%s is refused unless the document accepts it', async (value) => {
    expect(await outcomeOf(value, 'refuse')).toMatch(/^assertion_invalid: job of a (pull|merge) request$/);
    expect(await outcomeOf(value, 'accept')).toBe('accepted');
  });

  test.each(others)('%s is no proposal', async (value) => {
    expect(await outcomeOf(value, 'refuse')).toBe('accepted');
  });

  test('a token that does not say is refused either way', async () => {
    for (const value of [undefined, null, 7, ['push']])
      for (const rule of ['refuse', 'accept'] as const)
        expect(await outcomeOf(value, rule)).toBe(`assertion_invalid: ${claim}`);
  });
}
