import { compilePattern, variablesOf } from '@mayfly/core';
import { type AccessRow, accessRow, accessTable } from './access-table.ts';
import { ttlOf } from './compile.ts';
import { parseSeconds } from './documents/common.ts';
import type { DocumentOf } from './documents/kinds.ts';
import type { Known, Report } from './lint.ts';
import { didYouMean } from './suggest.ts';

type Spec = DocumentOf<'GrantTemplate'>['spec'];

interface GrantAt {
  readonly grant: Spec['grants'][number];
  readonly index: number;
  readonly spec: Spec;
}

/** Offline verifiers know only `exp`. */
const offlineSecondsMax = 60;
const writing = ['write', 'create', 'delete', 'send'] as const;

export function lintGrant(at: GrantAt, known: Known, report: Report): void {
  const { grant, index, spec } = at;
  const here = (...rest: (string | number)[]) => ['spec', 'grants', index, ...rest];
  const row = lintMint(at, known, report);
  lintResource(at, row, report);
  if (grant.actions.length === 0)
    report('WARN', 'no-action', here('actions'), 'an empty list permits nothing');
  for (const [position, action] of grant.actions.entries())
    if (row !== undefined && row.permissions[action] === undefined)
      report(
        'ERROR',
        'action-unknown',
        here('actions', position),
        `${row.access} has no ${action} (has: ${Object.keys(row.permissions).join(', ')})`,
      );
  if (
    grant.effects.length === 0 &&
    grant.actions.some((action) => (writing as readonly string[]).includes(action))
  )
    report(
      'ERROR',
      'effects-missing',
      here(),
      'a grant that writes, creates, deletes or sends must name its effects',
    );
  const strong = grant.effects.filter(
    (effect) => effect === 'egress' || effect === 'delete' || effect === 'privilege',
  );
  if (spec.risk === 'low' && strong.length > 0)
    report('SECURITY', 'low-risk-strong-effect', here('effects'), `risk low with ${strong.join(', ')}`);
  lintLife(at, row, { known, report });
}

function lintMint({ grant, index }: GrantAt, known: Known, report: Report): AccessRow | undefined {
  const path = ['spec', 'grants', index, 'mint'];
  const { provider, access, server, role } = grant.mint;
  if (provider === 'token') {
    if (server === undefined) report('ERROR', 'server-missing', path, 'a tool token needs mint.server');
    else if (!known.has('ResourceServer', server))
      report('ERROR', 'unknown-server', [...path, 'server'], `no ResourceServer ${server}`);
    if (access !== undefined && access !== 'token')
      report('ERROR', 'access', [...path, 'access'], 'provider token has access token only');
    return accessRow('token');
  }
  if (server !== undefined)
    report('ERROR', 'server', [...path, 'server'], 'only provider token takes a server');
  if (!known.has('Provider', provider))
    report('ERROR', 'unknown-provider', [...path, 'provider'], `no Provider ${provider}`);
  const row = access === undefined ? undefined : accessRow(access);
  const names = accessTable.filter((one) => one.provider !== 'token').map((one) => one.access);
  if (access === undefined)
    report('ERROR', 'access-missing', path, `mint.access is required (one of ${names.join(', ')})`);
  else if (row === undefined || row.provider === 'token')
    report(
      'ERROR',
      'unknown-access',
      [...path, 'access'],
      `unknown access${didYouMean(access, names)}; see mayfly access`,
    );
  const roles = known.provider(provider)?.spec.roles;
  if (role !== undefined && roles !== undefined && !roles.includes(role))
    report('ERROR', 'role', [...path, 'role'], 'not one of the roles of the provider');
  return row;
}

function lintResource({ grant, index, spec }: GrantAt, row: AccessRow | undefined, report: Report): void {
  const path = ['spec', 'grants', index, 'resource'];
  const { resource } = grant;
  const variables = variablesOf(resource);
  for (const name of variables) {
    if (name === 'task.id' || /^workload\.claims\.[A-Za-z0-9_.:/-]+$/.test(name)) continue;
    const param = name.startsWith('params.') ? spec.params[name.slice(7)] : undefined;
    if (param === undefined)
      report('ERROR', 'unknown-variable', path, `\${${name}} is no parameter, claim or task.id`);
  }
  if (resource.replaceAll(/\$\{[^}]*\}/g, '').includes('${'))
    report('ERROR', 'unclosed-variable', path, 'a variable is not closed');
  const compiled = compilePattern(resource.replaceAll(/\$\{[^}]*\}/g, 'x'));
  if ('problem' in compiled) report('ERROR', 'pattern', path, compiled.problem);
  if (row !== undefined && !resource.startsWith(row.prefix))
    report('ERROR', 'resource-form', path, `${row.access} takes ${row.resource}`);
  const head = row === undefined ? '' : resource.slice(row.prefix.length).split('/', 1).join('');
  if (row !== undefined && resource.startsWith(row.prefix)) lintHead(head, { spec, path, report });
  const lastSegment = resource.slice(resource.lastIndexOf('/') + 1);
  if (lastSegment.length > 1 && lastSegment.endsWith('*') && lastSegment !== '**')
    report(
      'SECURITY',
      'pattern-not-anchored-to-segment',
      path,
      `"${resource}" also opens every name that starts like this; write a whole segment and "/**"`,
    );
  if (row?.size === 'prefix' && !resource.endsWith('/') && !resource.endsWith('/**'))
    report('ERROR', 'prefix-form', path, 's3.prefix opens a prefix: end the resource in / or /**');
}

/** Bucket, account and host: who chooses them chooses whose data it is. */
function lintHead(
  head: string,
  { spec, path, report }: { spec: Spec; path: (string | number)[]; report: Report },
): void {
  if (head === '' || head.includes('*'))
    report('ERROR', 'no-fixed-first-segment', path, 'bucket or host must be written out');
  for (const name of variablesOf(head)) {
    const chosen = name.startsWith('params.') && spec.params[name.slice(7)]?.from === undefined;
    if (chosen)
      report('ERROR', 'caller-chosen-bucket', path, `the caller would choose bucket or host by \${${name}}`);
  }
}

function lintLife(
  { grant, index, spec }: GrantAt,
  row: AccessRow | undefined,
  { known, report }: { known: Known; report: Report },
): void {
  const path = ['spec', 'grants', index];
  const { maxSeconds } = ttlOf(grant, spec);
  const { default: usual, max } = grant.ttl ?? {};
  if (usual !== undefined && max !== undefined && parseSeconds(usual) > parseSeconds(max))
    report('ERROR', 'ttl-default', [...path, 'ttl', 'default'], 'ttl.default is above ttl.max');
  if (row !== undefined && (maxSeconds < row.lifeSeconds.min || maxSeconds > row.lifeSeconds.max))
    report(
      'ERROR',
      'ttl-range',
      [...path, 'ttl'],
      `${row.access} lives ${row.lifeSeconds.min} to ${row.lifeSeconds.max} s; this one at most ${maxSeconds} s`,
    );
  const server = grant.mint.server === undefined ? undefined : known.server(grant.mint.server);
  if (server?.spec.verification === 'offline' && maxSeconds > offlineSecondsMax)
    report(
      'ERROR',
      'ttl-offline',
      [...path, 'ttl'],
      `server ${server.metadata.name} verifies offline: at most ${offlineSecondsMax} s`,
    );
  if (grant.endsWithin === undefined || row === undefined) return;
  // AWS denial has no guaranteed delay, so only the life bounds it; introspection is bounded by the server's cache.
  const guaranteed = server?.spec.verification === 'introspect' ? server.spec.cacheSeconds : maxSeconds;
  const worst = Math.min(maxSeconds, guaranteed);
  if (parseSeconds(grant.endsWithin) < worst)
    report(
      'ERROR',
      'endsWithin-unreachable',
      [...path, 'endsWithin'],
      `worst case is ${worst} s; set ttl.max to ${grant.endsWithin} or endsWithin to ${worst}s`,
    );
}
