import type { Attestor, TrustedIssuer } from '@mayfly/core';
import { invalid } from '../jwt/compact.ts';
import { createKeySet } from '../jwt/key-set.ts';
import { publishedKeys } from '../jwt/key-source.ts';
import { verifyJwt } from '../jwt/verify.ts';
import { workloadOf } from '../jwt/workload.ts';
import type { AttestorOptions } from '../options.ts';

/** Pipelines that run what somebody proposes: a merge request here, or a pull request mirrored from elsewhere. */
const proposals: ReadonlySet<string> = new Set(['merge_request_event', 'external_pull_request_event']);

/** ID tokens of GitLab CI jobs (standards.md P4); the issuer is the instance. */
export function createGitlabAttestor(issuer: TrustedIssuer, options: AttestorOptions): Attestor {
  const keys = createKeySet(publishedKeys(issuer, options));
  return {
    issuer: issuer.issuer,
    attest: async (assertion, { now }) => {
      const verified = await verifyJwt(assertion, { issuer, keys, options, now });
      const { pipeline_source: source } = verified.payload;
      if (typeof source !== 'string') throw invalid('pipeline_source');
      if (proposals.has(source) && issuer.pullRequests === 'refuse') throw invalid('job of a merge request');
      return workloadOf(verified, issuer);
    },
  };
}
