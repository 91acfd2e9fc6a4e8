import type { AccessRow } from './access-table.ts';
import type { ProviderSpec } from './documents/provider/provider.ts';
import type { Known, Report } from './lint.ts';
import { lintAzureGrant } from './lint-azure.ts';
import type { GrantAt } from './lint-grant.ts';
import { lintRefused } from './lint-refused.ts';

/** What in a `mint:` block picks among the ceilings of its provider, by the type of provider that has such. */
export const ceilingKeys = ['role', 'client', 'serviceAccount', 'kmsKey'] as const;

function ceilingsOf(spec: ProviderSpec): Readonly<Partial<Record<string, readonly string[]>>> {
  switch (spec.type) {
    case 'aws':
      return { role: spec.roles, kmsKey: spec.kmsKeys ?? [] };
    case 'azure':
      return { client: spec.clients };
    case 'gcp':
      return { serviceAccount: spec.serviceAccounts };
    case 'kubernetes':
    case 'github':
      return {};
    default:
      return spec satisfies never;
  }
}

/** Nothing is said of a Provider that nobody knows. */
export function lintCeiling(at: GrantAt, spec: ProviderSpec | undefined, report: Report): void {
  if (spec === undefined) return;
  const { grant, index } = at;
  const { mint } = grant;
  const path = ['spec', 'grants', index];
  for (const key of ceilingKeys) {
    const ceilings = ceilingsOf(spec)[key];
    const chosen = mint[key];
    if (chosen === undefined || ceilings?.includes(chosen)) continue;
    const problem =
      ceilings === undefined
        ? `provider ${mint.provider} has no ${key}s`
        : `not one of the ${key}s of provider ${mint.provider}`;
    report('ERROR', key, [...path, 'mint', key], problem);
  }
  if (spec.type === 'azure') lintAzureGrant(at, spec, report);
  lintRefused(at, spec, report);
}

/**
 * A credential that nobody holds to its resource: the template says that it accepts that, and names a service
 * account that nothing else uses, so that what the credential opens is what somebody gave to this one template.
 */
export function lintUnscoped(at: GrantAt, row: AccessRow, { known, report }: Linting): void {
  const { mint } = at.grant;
  const path = ['spec', 'grants', at.index, 'mint'];
  const narrowed = row.enforcedBy !== 'nobody';
  if (narrowed && mint.accept !== undefined)
    report(
      'ERROR',
      'accept',
      [...path, 'accept'],
      `${row.access} is held to its resource: nothing to accept`,
    );
  if (!narrowed && mint.accept !== 'unscoped')
    report(
      'ERROR',
      'unscoped',
      path,
      `${row.access} opens all that its service account may, whatever the resource says; where that is meant, write accept: unscoped`,
    );
  if (!narrowed && mint.serviceAccount === undefined)
    report('ERROR', 'unscoped', path, `${row.access} needs mint.serviceAccount: one of this template alone`);
  const account = accountOf(mint, known);
  const beside = account === undefined ? [] : grantsElsewhere(at, known);
  const sharing = beside.filter((one) => accountOf(one, known) === account);
  // Of two that are narrowed each keeps to its own; beside one that is not, neither does.
  if (sharing.some(({ accept }) => !narrowed || accept !== undefined))
    report(
      'ERROR',
      'service-account-shared',
      path,
      `another template uses ${account} too, and one of the two gives out tokens that nobody narrows: each needs an account of its own`,
    );
}

interface Linting {
  readonly known: Known;
  readonly report: Report;
}

type Mint = GrantAt['grant']['mint'];

/** The service account that a grant is cut from: the one it names, else the first of its Provider. */
function accountOf({ serviceAccount, provider }: Mint, known: Known): string | undefined {
  const spec = known.provider(provider)?.spec;
  return serviceAccount ?? (spec?.type === 'gcp' ? spec.serviceAccounts[0] : undefined);
}

function grantsElsewhere({ spec }: GrantAt, known: Known): readonly Mint[] {
  const others = known.beside('GrantTemplate', '').filter((one) => one.spec !== spec);
  return others.flatMap((one) => one.spec.grants.map(({ mint }) => mint));
}
