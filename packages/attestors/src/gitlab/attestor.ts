import type { Attestor, TrustedIssuer } from '@mayfly/core';
import { invalid } from '../jwt/compact.ts';
import { createKeySet } from '../jwt/key-set.ts';
import { publishedKeys } from '../jwt/key-source.ts';
import { verifyJwt } from '../jwt/verify.ts';
import { workloadOf } from '../jwt/workload.ts';
import type { AttestorOptions } from '../options.ts';

/** Pipelines that run what somebody proposes: a merge request here, or a pull request mirrored from elsewhere. */
const proposals: ReadonlySet<string> = new Set(['merge_request_event', 'external_pull_request_event']);

/** A child pipeline says of its source only that; whether a proposal stands above it says the ref, where there is one. */
function runsProposal({
  pipeline_source: source,
  ref_path: ref,
}: Readonly<Record<string, unknown>>): boolean {
  if (typeof ref === 'string' && ref.startsWith('refs/merge-requests/')) return true;
  return proposals.has(String(source)) || (source === 'parent_pipeline' && typeof ref !== 'string');
}

/** ID tokens of GitLab CI jobs (standards.md P4); the issuer is the instance. */
export function createGitlabAttestor(issuer: TrustedIssuer, options: AttestorOptions): Attestor {
  const keys = createKeySet(publishedKeys(issuer, options));
  return {
    issuer: issuer.issuer,
    attest: async (assertion, { now }) => {
      const verified = await verifyJwt(assertion, { issuer, keys, options, now });
      const { pipeline_source: source } = verified.payload;
      if (typeof source !== 'string') throw invalid('pipeline_source');
      if (runsProposal(verified.payload) && issuer.pullRequests === 'refuse')
        throw invalid('job of a merge request');
      return workloadOf(verified, issuer);
    },
  };
}
