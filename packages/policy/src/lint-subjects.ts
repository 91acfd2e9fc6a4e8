import type { Known, Report } from './lint.ts';

type Path = readonly (string | number)[];

interface SubjectEntry {
  readonly issuer: string;
  readonly match: Readonly<Record<string, string | readonly string[]>>;
  readonly bind?: readonly string[] | undefined;
}

/** Issuers that exist, claims that they keep, and no pattern that matches everybody. */
export function lintSubjects(
  subjects: readonly SubjectEntry[],
  path: Path,
  { known, report }: { known: Known; report: Report },
): void {
  for (const [index, { issuer, match, bind = [] }] of subjects.entries()) {
    const here = [...path, index];
    if (!known.has('TrustedIssuer', issuer))
      report('ERROR', 'unknown-issuer', [...here, 'issuer'], known.missing('TrustedIssuer', issuer));
    for (const claim of [
      ...Object.keys(match).map((key) => ['match', key]),
      ...bind.map((_, at) => ['bind', at]),
    ]) {
      const name = claim[0] === 'match' ? String(claim[1]) : (bind[Number(claim[1])] ?? '');
      if (known.keeps(issuer, name) === false)
        report(
          'WARN',
          'claim-not-kept',
          [...here, ...claim],
          `TrustedIssuer ${issuer} does not keep the claim ${name}: this never matches; add it to its claims`,
        );
    }
    const texts = Object.values(match).flat();
    if (texts.length > 0 && texts.every((text) => /^[*/:]+$/.test(text)))
      report(
        'SECURITY',
        'any-subject',
        [...here, 'match'],
        `this matches everybody of ${issuer}; name who is meant`,
      );
    lintNames({ issuer, match, bind }, here, { known, report });
  }
}

/** Claims that no rename, transfer or new object of the old name can take over; any one of them will do. */
const lasting = {
  kubernetes: ['serviceaccount.uid', 'pod.uid'],
  github: ['repository_id', 'repository_owner_id'],
  gitlab: ['project_id', 'namespace_id'],
} as const;

function lintNames(
  { issuer, match, bind = [] }: SubjectEntry,
  here: Path,
  { known, report }: { known: Known; report: Report },
): void {
  const type = known.issuer(issuer)?.spec.type;
  if (type === 'github' || type === 'gitlab') {
    if (lasting[type].some((claim) => Object.hasOwn(match, claim))) return;
    report(
      'SECURITY',
      'mutable-name',
      [...here, 'match'],
      `names change hands with a rename or transfer; also match ${lasting[type].join(' or ')}`,
    );
  }
  if (type === 'kubernetes') {
    if (lasting[type].some((claim) => Object.hasOwn(match, claim) || bind.includes(claim))) return;
    report(
      'WARN',
      'mutable-name',
      [...here, 'match'],
      'a service account made anew has the old name; also match serviceaccount.uid, or bind it',
    );
  }
}
