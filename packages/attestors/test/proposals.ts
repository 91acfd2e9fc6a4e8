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
  /** A source that is a proposal by its ref alone. */
  readonly beneath?: { readonly value: string; readonly refs: readonly unknown[] };
}): void {
  const { file, claim, proposals, others, beneath } = options;
  const golden = readGolden(file);
  const key = makeKey('RS256', 'k');
  const outcomeOf = (
    value: unknown,
    pullRequests: TrustedIssuer['pullRequests'],
    more: Readonly<Record<string, unknown>> = {},
  ) => {
    const { subjects, ...issuer } = golden.issuer;
    const document = trusted({
      ...{ ...issuer, audience: 'https://mayfly.example', subjects: subjects.map(pattern) },
      ...{ algorithms: ['RS256'], pullRequests },
    });
    const readFile = async () => JSON.stringify({ keys: [key.jwk] });
    const token = compact({ alg: 'RS256', kid: 'k' }, { ...golden.payload, [claim]: value, ...more }, key);
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

  if (beneath !== undefined)
    test(`${beneath.value} is one where it runs beneath one, or cannot be told`, async () => {
      for (const value of beneath.refs)
        for (const [rule, said] of [
          ['refuse', 'assertion_invalid: job of a merge request'],
          ['accept', 'accepted'],
        ] as const)
          expect(await outcomeOf(beneath.value, rule, { ref_path: value })).toBe(said);
      expect(await outcomeOf(beneath.value, 'refuse', { ref_path: 'refs/heads/main' })).toBe('accepted');
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
