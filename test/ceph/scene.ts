import type { MintRequest, Provider } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { createAwsMinter } from '../../packages/minters/src/aws/minter.ts';
import { checkPlan } from '../../packages/minters/src/check.ts';
import { MemoryDenyStore } from '../../packages/minters/test/deny-store.ts';
import { awsRequest } from '../../packages/minters/test/plans.ts';
import { type Account, openAccount } from './account.ts';
import { type Federation, startFederation } from './federation.ts';
import { endpoint } from './here.ts';

const name = 'ceph';

/** The AWS minter, unchanged, in an account of its own in Ceph. */
export interface Scene {
  readonly federation: Federation;
  readonly account: Account;
}

/** Undefined where there is no Ceph. */
export async function openScene(): Promise<Scene | undefined> {
  if (endpoint === undefined) return undefined;
  const federation = await startFederation();
  const account = await openAccount(endpoint, federation.issuer, name);
  await account.pin(federation.thumbprints());
  return { federation, account };
}

export function providerOf({ task, reaper }: Account, auth: 'webIdentity' | 'ambient'): Provider {
  return {
    name,
    type: 'aws',
    spec: {
      type: 'aws',
      region: 'eu-west-1',
      roles: [task],
      auth,
      revoke: 'deny-policy',
      revoker: { role: reaper },
      denyBy: 'sessionName',
      endpoints: { sts: endpoint, iam: endpoint },
    },
  };
}

/** One minute from now, in a grant of its own. */
export function requestOf({ bucket }: Account, provider: Provider): MintRequest {
  const now = new Date();
  const id = () => uuidV7(now.getTime(), crypto.getRandomValues(new Uint8Array(10)));
  return awsRequest({
    provider,
    now,
    notAfter: new Date((Math.floor(now.getTime() / 1000) + 60) * 1000),
    issuanceId: id(),
    taskId: id(),
    grantId: id(),
    identifier: `arn:aws:s3:::${bucket}/t1/a`,
    mint: { provider: name, access: 's3.object' },
  });
}

export function underTest({ account, federation: { sign } }: Scene, auth: 'webIdentity' | 'ambient') {
  const provider = providerOf(account, auth);
  const store = new MemoryDenyStore(() => new Date());
  const minter = createAwsMinter({
    federation: { sign },
    deny: store,
    provider: () => provider,
    now: () => new Date(),
    report: () => undefined,
  });
  return {
    minter,
    provider,
    store,
    check: checkPlan,
    request: requestOf(account, provider),
    resource: `arn:aws:s3:::${account.bucket}/t1/**`,
    outside: `arn:aws:s3:::${account.bucket}/t2/a`,
  };
}
