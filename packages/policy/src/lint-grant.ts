import { effects } from '@mayfly/protocol';
import { type AccessRow, accessRow, accessTable } from './access-table.ts';
import { ttlOf } from './compile.ts';
import { parseSeconds } from './documents/common.ts';
import type { DocumentOf } from './documents/kinds.ts';
import type { Known, Report } from './lint.ts';
import { ceilingKeys, lintCeiling, lintUnscoped } from './lint-ceiling.ts';
import { lintResource } from './lint-resource.ts';
import { didYouMean } from './suggest.ts';

type Spec = DocumentOf<'GrantTemplate'>['spec'];
type Effect = (typeof effects)[number];

export interface GrantAt {
  readonly grant: Spec['grants'][number];
  readonly index: number;
  readonly spec: Spec;
}

/** Offline verifiers know only `exp`. */
const offlineSecondsMax = 60;

/** Effects of which a verb must declare at least one: policy and friction look at effects, not at verbs. */
const effectsOfVerb: Readonly<Record<string, readonly Effect[]>> = {
  write: ['write', 'egress', 'privilege'],
  create: ['write', 'egress', 'privilege'],
  delete: ['delete'],
  send: ['write', 'egress'],
};

export function lintGrant(at: GrantAt, known: Known, report: Report): void {
  const row = lintMint(at, known, report);
  lintResource(at, row, { known, report });
  lintActions(at, row, report);
  lintEffects(at, { known, report });
  if (row !== undefined) lintUnscoped(at, row, { known, report });
  lintLife(at, row, { known, report });
}

function lintMint(at: GrantAt, known: Known, report: Report): AccessRow | undefined {
  const { grant, index } = at;
  const path = ['spec', 'grants', index, 'mint'];
  const { provider, access, server, audience } = grant.mint;
  if (provider === 'token') {
    if (server === undefined) report('ERROR', 'server-missing', path, 'a tool token needs mint.server');
    else if (!known.has('ResourceServer', server))
      report('ERROR', 'unknown-server', [...path, 'server'], known.missing('ResourceServer', server));
    if (access !== undefined && access !== 'token')
      report('ERROR', 'access', [...path, 'access'], 'provider token has access token only');
    for (const key of ceilingKeys)
      if (grant.mint[key] !== undefined)
        report('ERROR', key, [...path, key], `provider token has no ${key}s`);
    lintAudience(at, known, report);
    return accessRow('token');
  }
  if (server !== undefined)
    report('ERROR', 'server', [...path, 'server'], 'only provider token takes a server');
  if (!known.has('Provider', provider))
    report('ERROR', 'unknown-provider', [...path, 'provider'], known.missing('Provider', provider));
  const spec = known.provider(provider)?.spec;
  lintCeiling(at, spec, report);
  const row = access === undefined ? undefined : accessRow(access);
  if (grant.mint.kmsKey !== undefined && row !== undefined && row.keyPermissions === undefined)
    report('ERROR', 'kmsKey', [...path, 'kmsKey'], `${row.access} takes no KMS key`);
  if (audience !== undefined && row?.provider !== 'kubernetes')
    report('ERROR', 'audience', [...path, 'audience'], 'only tokens of Kubernetes take an audience');
  if (row !== undefined && (spec === undefined ? row.provider !== 'token' : row.provider === spec.type))
    return row;
  const names = accessTable
    .filter((one) => (spec === undefined ? one.provider !== 'token' : one.provider === spec.type))
    .map((one) => one.access);
  const hint = didYouMean(access ?? '', names) || ` (known: ${names.join(', ')})`;
  if (access === undefined) report('ERROR', 'access-missing', path, `mint.access is required${hint}`);
  else report('ERROR', 'unknown-access', [...path, 'access'], `unknown access${hint}; see mayfly access`);
  return undefined;
}

function lintAudience({ grant, index, spec }: GrantAt, known: Known, report: Report): void {
  const audience = known.server(grant.mint.server ?? '')?.spec.audience;
  if (spec.risk !== 'low' || audience === undefined || !URL.canParse(audience)) return;
  const { origin } = new URL(audience);
  if (grant.resource !== origin && !grant.resource.startsWith(`${origin}/`))
    report(
      'SECURITY',
      'low-risk-outside-audience',
      ['spec', 'grants', index, 'resource'],
      `risk low with a tool token for ${origin} about another place; raise the risk`,
    );
}

function lintActions({ grant, index }: GrantAt, row: AccessRow | undefined, report: Report): void {
  const path = ['spec', 'grants', index, 'actions'];
  if (grant.actions.length === 0)
    report(
      grant.mint.provider === 'token' ? 'WARN' : 'ERROR',
      'no-action',
      path,
      'an empty list permits nothing',
    );
  for (const [position, action] of grant.actions.entries()) {
    if (row !== undefined && row.permissions[action] === undefined)
      report(
        'ERROR',
        'action-unknown',
        [...path, position],
        `${row.access} has no ${action} (has: ${Object.keys(row.permissions).join(', ')})`,
      );
    const tells = grant.actions.includes('read') ? undefined : row?.tells?.[action];
    if (tells !== undefined)
      report('WARN', 'tells-what-is-there', [...path, position], `${action}: ${tells}`);
    if (grant.actions.indexOf(action) !== position)
      report('WARN', 'repeated', [...path, position], `${action} stands twice`);
  }
}

function lintEffects(
  { grant, index, spec }: GrantAt,
  { known, report }: { known: Known; report: Report },
): void {
  const path = ['spec', 'grants', index];
  const strong = grant.effects.filter((one) => one === 'egress' || one === 'delete' || one === 'privilege');
  if (spec.risk === 'low' && strong.length > 0)
    report(
      'SECURITY',
      'low-risk-strong-effect',
      [...path, 'effects'],
      `risk low with ${strong.join(', ')}; raise the risk, or take the effect away`,
    );
  if (spec.risk === 'high' && strong.length > 0)
    report(
      'SECURITY',
      'high-risk-without-friction',
      [...path, 'effects'],
      `risk high with ${strong.join(', ')} and nobody asked before: approvals and conditions are not built yet`,
    );
  const telling = grant.actions.filter((action) => effectsOfVerb[action] !== undefined);
  if (grant.effects.length === 0 && telling.length > 0) {
    report(
      'ERROR',
      'effects-missing',
      path,
      `a grant to ${telling.join(', ')} must name its effects (${effects.join(', ')})`,
    );
    return;
  }
  for (const action of telling) {
    const needed = effectsOfVerb[action] ?? [];
    if (!needed.some((one) => grant.effects.includes(one)))
      report(
        'SECURITY',
        'effects-understated',
        [...path, 'effects'],
        `${action} without effect ${needed.join(' or ')}: guardrails would not see it`,
      );
  }
  if (
    grant.endsWithin === undefined &&
    known.server(grant.mint.server ?? '')?.spec.verification === 'offline'
  )
    report(
      'WARN',
      'ends-by-expiry',
      path,
      `server ${grant.mint.server} verifies offline: nothing ends before its expiry`,
    );
}

function lintLife(
  { grant, index, spec }: GrantAt,
  row: AccessRow | undefined,
  { known, report }: { known: Known; report: Report },
): void {
  const path = ['spec', 'grants', index];
  const { defaultSeconds, maxSeconds } = ttlOf(grant, spec);
  const ttlPath =
    grant.ttl === undefined && spec.defaults?.ttl !== undefined
      ? ['spec', 'defaults', 'ttl']
      : [...path, 'ttl'];
  for (const [place, ttl] of [
    [[...path, 'ttl', 'default'], grant.ttl],
    [['spec', 'defaults', 'ttl', 'default'], index === 0 ? spec.defaults?.ttl : undefined],
  ] as const)
    if (
      ttl?.default !== undefined &&
      ttl.max !== undefined &&
      parseSeconds(ttl.default) > parseSeconds(ttl.max)
    )
      report('ERROR', 'ttl-default', place, 'ttl.default is above ttl.max');
  const life = row?.lifeSeconds;
  if (row !== undefined && life !== undefined && (defaultSeconds < life.min || maxSeconds > life.max))
    report(
      'ERROR',
      'ttl-range',
      ttlPath,
      `${row.access} lives ${life.min} to ${life.max} s; this one ${defaultSeconds} to ${maxSeconds} s`,
    );
  // Nothing lives longer than its task may, so what lives at least as long would never be minted.
  if (life !== undefined && life.min > parseSeconds(spec.task.maxDuration))
    report(
      'ERROR',
      'task-too-short',
      ['spec', 'task', 'maxDuration'],
      `${row?.access} lives at least ${life.min} s: no task of ${spec.task.maxDuration} could get one`,
    );
  const server = grant.mint.server === undefined ? undefined : known.server(grant.mint.server);
  if (server?.spec.verification === 'offline' && maxSeconds > offlineSecondsMax)
    report(
      'ERROR',
      'ttl-offline',
      ttlPath,
      `server ${server.metadata.name} verifies offline: at most ${offlineSecondsMax} s, not ${maxSeconds} s`,
    );
  if (grant.endsWithin === undefined || row === undefined) return;
  // Where no delay is guaranteed only the life bounds it; introspection is bounded by the server's cache.
  const cached = server?.spec.verification === 'introspect' ? server.spec.cacheSeconds : maxSeconds;
  const felt = grant.mint.audience === undefined ? row.endsWithinSeconds : undefined;
  const worst = Math.min(maxSeconds, cached, felt ?? maxSeconds);
  if (parseSeconds(grant.endsWithin) < worst)
    report(
      'ERROR',
      'endsWithin-unreachable',
      [...path, 'endsWithin'],
      `the worst case is ${worst} s (${worst === felt ? row.ends : cached < maxSeconds ? 'cacheSeconds of the server' : row.worst}); set ttl.max to ${grant.endsWithin} or endsWithin to ${worst}s`,
    );
}
