import type { ActiveDocument } from './diff.ts';
import type { DocumentOf } from './documents/kinds.ts';
import type { ProviderSpec } from './documents/provider/provider.ts';
import type { Finding, Report } from './lint.ts';
import { lintAzure } from './lint-azure.ts';
import { formatPath } from './located.ts';
import type { ParsedDocument } from './parse.ts';

export function lintProvider({ metadata, spec }: DocumentOf<'Provider'>, report: Report): void {
  if (metadata.name === 'token')
    report(
      'ERROR',
      'reserved-name',
      ['metadata', 'name'],
      'the provider token always exists; choose another name',
    );
  switch (spec.type) {
    case 'aws':
      lintAws(spec, report);
      break;
    case 'azure':
      lintAzure(spec, report);
      break;
    case 'gcp':
      lintGcp(spec, report);
      break;
    case 'kubernetes':
      lintKubernetes(spec, report);
      break;
    case 'github':
      break;
    default:
      spec satisfies never;
  }
}

/** Where assertions of our federation issuer are believed by clouds: one shown to a cluster could be taken there. */
function isOfCloud(audience: string): boolean {
  const { protocol, hostname, pathname } = new URL(audience);
  const host = hostname.toLowerCase();
  if (protocol === 'api:') return /^azureadtokenexchange/.test(`${host}${pathname}`.toLowerCase());
  return host === 'iam.googleapis.com' || /^sts(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?$/.test(host);
}

/** A Provider that becomes another kind under its name: the trust that its old cloud has in that name still stands. */
export function lintTypeChanges(
  documents: readonly ParsedDocument[],
  active: readonly ActiveDocument[],
): readonly Finding[] {
  return documents.flatMap(({ document, positionOf }): Finding[] => {
    if (document.kind !== 'Provider') return [];
    const { name } = document.metadata;
    const before = active.find((one) => one.kind === 'Provider' && one.name === name)?.body['spec'];
    const type: unknown = Reflect.get(Object(before), 'type');
    if (type === undefined || type === document.spec.type) return [];
    const path = ['spec', 'type'];
    const message = `Provider ${name} is of type ${String(type)}, whose cloud trusts assertions of this name; take another name, or delete it and the trust first`;
    return [{ ...positionOf(path), level: 'ERROR', rule: 'type-changed', path: formatPath(path), message }];
  });
}

function lintKubernetes(spec: Extract<ProviderSpec, { type: 'kubernetes' }>, report: Report): void {
  if (isOfCloud(spec.audience))
    report(
      'ERROR',
      'audience-of-a-cloud',
      ['spec', 'audience'],
      'an assertion with this audience would be taken by that cloud; name one that only this cluster expects',
    );
  for (const [index, account] of spec.serviceAccounts.entries())
    if (spec.serviceAccounts.indexOf(account) !== index)
      report('WARN', 'repeated', ['spec', 'serviceAccounts', index], 'this service account stands twice');
  if ((spec.auth === 'tokenFile') !== (spec.tokenFile !== undefined))
    report('ERROR', 'token-file', ['spec', 'auth'], 'auth: tokenFile and a tokenFile belong together');
  if (spec.auth === 'tokenFile')
    report(
      'SECURITY',
      'one-identity',
      ['spec', 'tokenFile'],
      'the same stored token mints and deletes; auth: federation has an identity for each and stores none',
    );
}

function lintAws(spec: Extract<ProviderSpec, { type: 'aws' }>, report: Report): void {
  for (const [index, role] of spec.roles.entries())
    if (spec.roles.indexOf(role) !== index)
      report('WARN', 'repeated', ['spec', 'roles', index], 'this role stands twice');
  if (spec.revoke === 'none')
    report(
      'SECURITY',
      'no-revocation',
      ['spec', 'revoke'],
      'credentials end only by expiry; write revoke: deny-policy where the role may be denied',
    );
  else if (spec.revoker === undefined)
    report(
      'SECURITY',
      'revoker-missing',
      ['spec', 'revoke'],
      'the minting identity would also write deny policies; name a revoker role',
    );
  if (!spec.roles.every((role) => /^[^:]*:[^:]*:iam::[0-9]{12}:/.test(role)))
    lintWithoutAccount(spec, report);
  // IAM takes a role's bare name in the caller's own account: a denial would land on a namesake there.
  const revoker = spec.revoke === 'none' ? undefined : spec.revoker?.role;
  for (const [index, role] of spec.roles.entries())
    if (revoker !== undefined && accountOf(role) !== accountOf(revoker))
      report(
        'ERROR',
        'revoker-in-another-account',
        ['spec', 'roles', index],
        'the revoker can write deny policies only in its own account; make one Provider per account',
      );
  if (spec.revoker !== undefined && spec.roles.includes(spec.revoker.role))
    report(
      'ERROR',
      'revoker-is-ceiling',
      ['spec', 'revoker', 'role'],
      'the role of the reaper must not be one that credentials are cut from',
    );
}

/** Only AWS has accounts: such a role is one of another system, which has its own addresses and no SourceIdentity. */
function lintWithoutAccount(spec: Extract<ProviderSpec, { type: 'aws' }>, report: Report): void {
  if (spec.endpoints?.sts === undefined || spec.endpoints.iam === undefined)
    report(
      'ERROR',
      'role-without-account',
      ['spec', 'roles'],
      'a role of AWS names its account of 12 digits; for another system name its endpoints sts and iam',
    );
  if (spec.revoke !== 'none' && spec.denyBy !== 'sessionName')
    report(
      'ERROR',
      'no-source-identity',
      ['spec', 'denyBy'],
      'roles without an account are not those of AWS, and only AWS knows SourceIdentity; write denyBy: sessionName',
    );
}

function lintGcp({ serviceAccounts }: Extract<ProviderSpec, { type: 'gcp' }>, report: Report): void {
  for (const [index, account] of serviceAccounts.entries())
    if (serviceAccounts.indexOf(account) !== index)
      report('WARN', 'repeated', ['spec', 'serviceAccounts', index], 'this service account stands twice');
}

/** Partition and account of a role. */
function accountOf(role: string): string {
  const [, partition, , , account] = role.split(':');
  return `${partition}:${account}`;
}
