import type { ProviderSpec } from './documents/provider/provider.ts';
import type { Report } from './lint.ts';
import type { GrantAt } from './lint-grant.ts';

type Spec<T extends ProviderSpec['type']> = Extract<ProviderSpec, { type: T }>;
type Refused = Pick<GrantAt, 'grant' | 'index'> & { readonly report: Report };

/** What the minter of this Provider, or the system behind it, would refuse at every mint: better told here than then. */
export function lintRefused({ grant, index }: GrantAt, spec: ProviderSpec, report: Report): void {
  const at = { grant, index, report };
  switch (spec.type) {
    case 'aws':
      lintOtherAccount(at, spec);
      lintCreate(at, spec);
      break;
    case 'gcp':
      lintOneMethod(at);
      lintService(at);
      break;
    case 'kubernetes':
      lintServiceAccount(at, spec);
      break;
    case 'github':
      lintRepository(at, spec);
      break;
    case 'azure':
      break;
    default:
      spec satisfies never;
  }
}

/** A session of one account opens nothing of another, though its ARN names it. */
function lintOtherAccount(
  { grant: { mint, resource }, index, report }: Refused,
  { roles }: Spec<'aws'>,
): void {
  const [, account] = /^arn:[a-z-]+:[a-z0-9]+:[a-z0-9-]+:([0-9]{12}):/.exec(resource) ?? [];
  const [, , , , own = ''] = (mint.role ?? roles[0] ?? '').split(':');
  if (account !== undefined && account !== own)
    report(
      'ERROR',
      'account',
      ['spec', 'grants', index, 'resource'],
      `the account is ${account}, that of the role ${own === '' ? 'none' : own}`,
    );
}

/** `create` is a write with If-None-Match, and only AWS lets a policy demand that. */
function lintCreate({ grant: { actions, mint }, index, report }: Refused, { denyBy }: Spec<'aws'>): void {
  const position = actions.indexOf('create');
  if (denyBy === 'sessionName' && position >= 0)
    report(
      'ERROR',
      'create-refused',
      ['spec', 'grants', index, 'actions', position],
      `provider ${mint.provider} denies by session name, so it is not AWS, and nothing else knows the condition that keeps create from overwriting; grant write where that may be`,
    );
}

function lintOneMethod({ grant: { actions, mint }, index, report }: Refused): void {
  if (mint.access === 'gcs.object' && actions.length > 1)
    report(
      'WARN',
      'one-action',
      ['spec', 'grants', index, 'actions'],
      'a signed URL is for one method: an exchange that does not name one of these actions is refused; make a grant for each, or let agents name it',
    );
}

const variable = /\$\{[^}]*\}/g;

function lintService({ grant: { mint, resource }, index, report }: Refused): void {
  // Query, fragment and the like are refused for every URI.
  const sample = resource.replaceAll(variable, 'x').replaceAll(/[?#%@\\]/g, '');
  if (mint.access === 'gcp.token' && !/^\/\/[a-z0-9.-]+\/[A-Za-z0-9._~:/*-]+$/.test(sample))
    report(
      'ERROR',
      'resource-form',
      ['spec', 'grants', index, 'resource'],
      'gcp.token takes //SERVICE.googleapis.com/NAME: a name of A-Z, a-z, 0-9 and . _ ~ : / -',
    );
}

function lintServiceAccount(
  { grant: { mint, resource }, index, report }: Refused,
  { cluster, serviceAccounts }: Spec<'kubernetes'>,
): void {
  const pattern = asPattern(resource);
  if (serviceAccounts.some((one) => pattern.test(`k8s://${cluster}/${one}`))) return;
  report(
    'ERROR',
    'service-account',
    ['spec', 'grants', index, 'resource'],
    `none of the serviceAccounts of provider ${mint.provider}, which calls its cluster ${cluster}`,
  );
}

/** Of whom, and which: GitHub takes `NAME.git` for the same repository, and one thing has one name here. */
function lintRepository(
  { grant: { mint, resource }, index, report }: Refused,
  { owner }: Spec<'github'>,
): void {
  const say = (rule: string, message: string) =>
    report('ERROR', rule, ['spec', 'grants', index, 'resource'], message);
  const [, named, rest = ''] = /^https:\/\/github\.com\/([^/]*)\/?(.*)$/.exec(resource) ?? [];
  if (named === undefined) return;
  if (!asPattern(named).test(owner)) say('owner', `provider ${mint.provider} is of the owner ${owner}`);
  const sample = rest.replaceAll(variable, 'x');
  if (sample !== '**' && (!/^[A-Za-z0-9._*-]{1,100}$/.test(sample) || /^\.{1,2}$|\.git$/i.test(sample)))
    say(
      'resource-form',
      'one repository: https://github.com/OWNER/REPOSITORY, without .git and what follows',
    );
}

/** Matches whatever the resource might name, once its variables are filled in. */
function asPattern(resource: string): RegExp {
  const literal = resource
    .split(/\$\{[^}]*\}|\*+/)
    .map((one) => one.replaceAll(/[.+?^$()|[\]{}\\]/g, '\\$&'));
  return new RegExp(`^${literal.join('.*')}$`, 's');
}
