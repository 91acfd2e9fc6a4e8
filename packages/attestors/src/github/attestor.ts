import type { Attestor, TrustedIssuer } from '@mayfly/core';
import { invalid } from '../jwt/compact.ts';
import { createKeySet } from '../jwt/key-set.ts';
import { publishedKeys } from '../jwt/key-source.ts';
import { verifyJwt } from '../jwt/verify.ts';
import { workloadOf } from '../jwt/workload.ts';
import type { AttestorOptions } from '../options.ts';

/** Jobs of GitHub Actions (standards.md P3). Names change owners, ids do not: templates match `repository_id`. */
export function createGithubAttestor(issuer: TrustedIssuer, options: AttestorOptions): Attestor {
  const keys = createKeySet(publishedKeys(issuer, options));
  return {
    issuer: issuer.issuer,
    attest: async (assertion, { now }) => {
      const verified = await verifyJwt(assertion, { issuer, keys, options, now });
      const { event_name: event } = verified.payload;
      if (typeof event !== 'string') throw invalid('event_name');
      // pull_request, pull_request_target, pull_request_review, pull_request_review_comment.
      if (event.startsWith('pull_request') && issuer.pullRequests === 'refuse')
        throw invalid('job of a pull request');
      return workloadOf(verified, issuer);
    },
  };
}
