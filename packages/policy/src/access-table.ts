import { awsAccess } from './access/aws.ts';
import { azureAccess } from './access/azure.ts';
import { githubAccess } from './access/github.ts';
import { kubernetesAccess } from './access/kubernetes.ts';
import type { AccessRow } from './access/row.ts';
import { tokenAccess } from './access/token.ts';

/** A file each provider in `access/`; a new row is data and a test of its minter's contract. */
export const accessTable: readonly AccessRow[] = [
  ...awsAccess,
  ...azureAccess,
  ...kubernetesAccess,
  ...githubAccess,
  ...tokenAccess,
];

export function accessRow(access: string): AccessRow | undefined {
  return accessTable.find((row) => row.access === access);
}

export type { AccessRow };
