import type { AccessRow } from './row.ts';

export const kubernetesAccess: readonly AccessRow[] = [
  {
    access: 'kubernetes.serviceaccount',
    provider: 'kubernetes',
    resource: 'k8s://CLUSTER/NAMESPACE/SERVICEACCOUNT',
    start: '^k8s://',
    head: { what: 'cluster', form: '^[a-z0-9-]{1,63}$' },
    tail: 'path',
    size: 'one',
    // RBAC says what the account may do; a token narrows nothing within it.
    permissions: { invoke: ['serviceaccounts/token:create'] },
    conditions: {},
    mechanism: 'TokenRequest bound to a Secret of its own; RBAC says what the account may',
    enforcedBy: 'provider, as a whole',
    // TokenRequest takes no less than 600 s, counted from when it arrives: with half a minute for the way.
    lifeSeconds: { min: 630, max: 3600 },
    ends: 'deleted (the Secret that the token is bound to), felt within the 10 s that an API server remembers a token',
    worst: 'deletion is felt by the API server alone, so for another audience the longest ttl counts',
    // `TokenSuccessCacheTTL` of kube-apiserver.
    endsWithinSeconds: 10,
  },
];
