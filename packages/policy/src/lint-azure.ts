import type { ProviderSpec } from './documents/provider/provider.ts';
import type { Report } from './lint.ts';
import type { GrantAt } from './lint-grant.ts';

type AzureSpec = Extract<ProviderSpec, { type: 'azure' }>;

export function lintAzure({ clients, accounts, correlationId, serviceBus }: AzureSpec, report: Report): void {
  for (const [key, list] of Object.entries({ clients, accounts }))
    for (const [index, one] of list.entries())
      if (list.indexOf(one) !== index)
        report('WARN', 'repeated', ['spec', key, index], `${one} stands twice`);
  if (accounts.length === 0 && serviceBus === undefined)
    report(
      'WARN',
      'no-ceiling',
      ['spec', 'accounts'],
      'neither accounts nor serviceBus: nothing can be given',
    );
  if (!correlationId)
    report(
      'WARN',
      'no-correlation-id',
      ['spec', 'correlationId'],
      'storage logs will not name the issuance; only Azurite needs this off',
    );
}

/** Accounts and namespaces are ceilings too, and a SAS of Service Bus carries one verb. */
export function lintAzureGrant(
  { grant: { mint, resource, actions }, index }: Pick<GrantAt, 'grant' | 'index'>,
  spec: AzureSpec,
  report: Report,
): void {
  const path = ['spec', 'grants', index];
  const { accounts, serviceBus } = spec;
  const [, name, service] =
    /^https:\/\/([a-z0-9-]+)\.(blob\.core|servicebus)\.windows\.net\//.exec(resource) ?? [];
  if (name === undefined) return;
  const ceilings = service === 'servicebus' ? (serviceBus?.namespaces ?? []) : accounts;
  const what = service === 'servicebus' ? 'namespace' : 'account';
  if (!ceilings.includes(name))
    report(
      'ERROR',
      what,
      [...path, 'resource'],
      `${name} is not one of the ${what}s of provider ${mint.provider}`,
    );
  if (service !== 'servicebus') return;
  if (actions.length > 1)
    report(
      'ERROR',
      'one-verb',
      [...path, 'actions'],
      'one SAS of Service Bus carries one verb: make a grant for each',
    );
  for (const [position, action] of actions.entries())
    if ((action === 'send' || action === 'receive') && serviceBus?.rules[action] === undefined)
      report(
        'ERROR',
        'rule-missing',
        [...path, 'actions', position],
        `provider ${mint.provider} names no rule for ${action} in serviceBus.rules`,
      );
}
