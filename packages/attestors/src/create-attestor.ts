import type { Attestor, TrustedIssuer } from '@mayfly/core';
import { createGithubAttestor } from './github/attestor.ts';
import { createGitlabAttestor } from './gitlab/attestor.ts';
import { createKubernetesAttestor } from './kubernetes/attestor.ts';
import { createOidcAttestor } from './oidc/attestor.ts';
import type { AttestorOptions } from './options.ts';
import { createSpiffeAttestor } from './spiffe/attestor.ts';

const attestors = {
  oidc: createOidcAttestor,
  kubernetes: createKubernetesAttestor,
  spiffe: createSpiffeAttestor,
  github: createGithubAttestor,
  gitlab: createGitlabAttestor,
} as const satisfies Record<
  TrustedIssuer['type'],
  (issuer: TrustedIssuer, options: AttestorOptions) => Attestor
>;

/** The attestor of one TrustedIssuer. It fetches nothing before its first assertion. */
export function createAttestor(issuer: TrustedIssuer, options: AttestorOptions): Attestor {
  return attestors[issuer.type](issuer, options);
}
