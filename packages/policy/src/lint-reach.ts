import { compilePattern } from '@mayfly/core';
import type { ProviderSpec } from './documents/provider/provider.ts';
import type { Known, Report } from './lint.ts';
import type { GrantAt } from './lint-grant.ts';

/** What is written out and lies beyond a ceiling of its Provider could never be exchanged. */
export function lintReach({ grant, index }: GrantAt, known: Known, report: Report): void {
  const { provider } = grant.mint;
  const spec = known.provider(provider)?.spec;
  const beyond = spec === undefined ? undefined : beyondProvider(spec, grant.resource);
  if (beyond === undefined) return;
  const path = ['spec', 'grants', index, 'resource'];
  report('ERROR', 'beyond-provider', path, `${beyond} is not of provider ${provider}`);
}

function beyondProvider(spec: ProviderSpec, resource: string): string | undefined {
  switch (spec.type) {
    case 'kubernetes':
      return beyondCluster(spec, resource);
    case 'github': {
      const owner = /^https:\/\/github\.com\/([A-Za-z0-9-]+)\//.exec(resource)?.[1];
      return owner === undefined || owner === spec.owner ? undefined : `owner ${owner}`;
    }
    default:
      return undefined;
  }
}

function beyondCluster(
  { cluster, serviceAccounts }: Extract<ProviderSpec, { type: 'kubernetes' }>,
  resource: string,
): string | undefined {
  const [, named, account = ''] = /^k8s:\/\/([a-z0-9-]+)\/(.+)$/.exec(resource) ?? [];
  if (named === undefined) return undefined;
  if (named !== cluster) return `cluster ${named}`;
  // A parameter may still be one of them.
  const pattern = account.includes('${') ? undefined : compilePattern(account);
  if (pattern === undefined || 'problem' in pattern) return undefined;
  return serviceAccounts.some((one) => pattern.matches(one)) ? undefined : `service account ${account}`;
}
