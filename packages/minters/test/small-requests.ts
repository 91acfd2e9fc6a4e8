import type { MintRequest, Provider } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { awsRequest } from './plans.ts';

/** For tests only: a request of Kubernetes or GitHub as of now, with ids of now, and their Providers. */
export function kubernetesProvider(api: string, more: Readonly<Record<string, unknown>> = {}): Provider {
  return {
    name: 'staging-k8s',
    type: 'kubernetes',
    spec: {
      type: 'kubernetes',
      cluster: 'staging',
      serviceAccounts: ['agents/deployer', 'agents/reader'],
      auth: 'federation',
      audience: 'https://kubernetes.default.svc',
      endpoints: { api },
      ...more,
    },
  };
}

export function kubernetesRequest(provider: Provider, more: Partial<MintRequest> = {}): MintRequest {
  return requestNow({
    lifeSeconds: 700,
    tool: 'k8s.deploy',
    identifier: 'k8s://staging/agents/deployer',
    actions: ['invoke'],
    access: 'kubernetes.serviceaccount',
    mint: { provider: 'staging-k8s', access: 'kubernetes.serviceaccount' },
    provider,
    ...more,
  });
}

export function githubProvider(api: string, more: Readonly<Record<string, unknown>> = {}): Provider {
  return {
    name: 'acme-github',
    type: 'github',
    spec: {
      type: 'github',
      appId: '123456',
      installationId: '7890',
      owner: 'acme',
      endpoints: { api },
      ...more,
    },
  };
}

export function githubRequest(provider: Provider, more: Partial<MintRequest> = {}): MintRequest {
  return requestNow({
    lifeSeconds: 3_700,
    tool: 'git.read',
    identifier: 'https://github.com/acme/webshop',
    actions: ['read'],
    access: 'github.repository',
    mint: { provider: 'acme-github', access: 'github.repository' },
    provider,
    ...more,
  });
}

let serial = 0;

function requestNow({
  lifeSeconds,
  ...more
}: Partial<MintRequest> & { readonly lifeSeconds: number }): MintRequest {
  const now = more.now ?? new Date();
  const id = () => {
    serial += 1;
    const bytes = new Uint8Array(10);
    new DataView(bytes.buffer).setUint32(6, serial);
    return uuidV7(now.getTime(), bytes);
  };
  const notAfter = new Date((Math.floor(now.getTime() / 1000) + lifeSeconds) * 1000);
  const ids = { issuanceId: id(), taskId: id(), grantId: id() };
  return awsRequest({ ...ids, now, notAfter, ...more });
}
