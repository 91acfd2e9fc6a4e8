import { parseSeconds } from './documents/common.ts';
import type { DocumentOf } from './documents/kinds.ts';
import type { Known, Report } from './lint.ts';

type Spec = DocumentOf<'TrustedIssuer'>['spec'];

/** Beyond this a deleted pod's token is worth stealing; the shortest that Kubernetes makes is 10 minutes. */
const unreviewedSecondsMax = 600;

export function lintIssuer(
  { metadata, spec }: DocumentOf<'TrustedIssuer'>,
  known: Known,
  report: Report,
): void {
  const twin = known.beside('TrustedIssuer', metadata.name).find((one) => one.spec.issuer === spec.issuer);
  // Assertions are routed by exact `iss`: of two documents one would decide unseen.
  if (twin !== undefined)
    report(
      'ERROR',
      'issuer-twice',
      ['spec', 'issuer'],
      `TrustedIssuer ${twin.metadata.name} trusts this issuer already; merge the two`,
    );
  if (spec.subjects.length === 0)
    report('WARN', 'no-subject', ['spec', 'subjects'], 'an empty list believes nothing');
  for (const [index, pattern] of spec.subjects.entries())
    if (/^[*/:]+$/.test(pattern))
      report(
        'SECURITY',
        'any-subject',
        ['spec', 'subjects', index],
        'this issuer may speak for any name; write the namespaces it owns',
      );
  lintKeySources(spec, report);
  lintMachines(spec, report);
  lintEvents(metadata.name, spec, { known, report });
  if (spec.people && spec.replay === 'reuse')
    report(
      'SECURITY',
      'people-reuse',
      ['spec', 'replay'],
      'a stolen sign-in could be used again; write replay: once',
    );
}

function lintKeySources(spec: Spec, report: Report): void {
  if (spec.jwksUri !== undefined && spec.jwksFile !== undefined)
    report(
      'ERROR',
      'two-key-sources',
      ['spec', 'jwksFile'],
      'jwksUri and jwksFile exclude each other; keep one',
    );
  if (spec.bundleUrl !== undefined && spec.bundleFile !== undefined)
    report(
      'ERROR',
      'two-key-sources',
      ['spec', 'bundleFile'],
      'bundleUrl and bundleFile exclude each other; keep one',
    );
  if (spec.tokenFile !== undefined && spec.jwksFile !== undefined)
    report('WARN', 'never-used', ['spec', 'tokenFile'], 'keys in a file need no token; leave it out');
}

/** Events are routed by exact `iss`, and of its own an issuer has keys only where it signs assertions with them. */
function lintEvents(
  name: string,
  { events, ...spec }: Spec,
  { known, report }: { known: Known; report: Report },
): void {
  if (events === undefined) return;
  const at = ['spec', 'events'] as const;
  const transmitter = events.transmitter ?? spec.issuer;
  const twin = known
    .beside('TrustedIssuer', name)
    .find(({ spec: one }) => one.events && (one.events.transmitter ?? one.issuer) === transmitter);
  if (twin !== undefined)
    report(
      'ERROR',
      'transmitter-twice',
      [...at, 'transmitter'],
      `TrustedIssuer ${twin.metadata.name} has this transmitter already; each needs one of its own`,
    );
  if (spec.type === 'spiffe' && events.transmitter === undefined)
    report('ERROR', 'transmitter-missing', at, 'a trust domain pushes no events; name their transmitter');
  if (events.jwksUri !== undefined && events.jwksFile !== undefined)
    report(
      'ERROR',
      'two-key-sources',
      [...at, 'jwksFile'],
      'jwksUri and jwksFile exclude each other; keep one',
    );
}

function lintMachines(spec: Spec, report: Report): void {
  if (spec.people && spec.type !== 'oidc')
    report(
      'ERROR',
      'people-of-machines',
      ['spec', 'people'],
      `type ${spec.type} speaks for machines: a job or pod could hold the roles of people; leave it out`,
    );
  if (spec.pullRequests === 'accept')
    report(
      'SECURITY',
      'pull-requests',
      ['spec', 'pullRequests'],
      'jobs of proposals run code that nobody has reviewed; match them by environment or by runner',
    );
  for (const [index, subject] of spec.subjects.entries())
    if (spec.type === 'spiffe' && !subject.startsWith(`${spec.issuer}/`))
      report(
        'WARN',
        'subject-elsewhere',
        ['spec', 'subjects', index],
        `this never matches: every subject starts with ${spec.issuer}/`,
      );
  const isUnreviewed = spec.type === 'kubernetes' && spec.tokenReview === undefined;
  if (isUnreviewed && parseSeconds(spec.maxLifetime) > unreviewedSecondsMax)
    report(
      'WARN',
      'no-token-review',
      ['spec', 'maxLifetime'],
      'a deleted pod’s token is good until it expires; add tokenReview, or maxLifetime: 10m',
    );
}
