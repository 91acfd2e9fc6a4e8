/** One way in which Ceph decides otherwise than AWS's documents and our stand-in, and why no credential of ours meets it. */
export interface KnownDifference {
  /** As docs/adr/0012 names it, with the number of decisions: this list may grow only with an ADR. */
  readonly cause: string;
  /** Names of policies.ts; `all` for every policy, also the random ones. */
  readonly policies: 'all' | readonly string[];
  readonly operations: 'all' | readonly string[];
  readonly ceph: 'allows' | 'denies';
  /** How many decisions on the named policies differ so, and by no entry above; another number fails as well. */
  readonly decisions: number;
}

export const knownDifferences: readonly KnownDifference[] = [
  {
    cause: 'existence',
    policies: 'all',
    operations: ['get t1/none', 'head t1/none'],
    ceph: 'allows',
    decisions: 78,
  },
  {
    cause: 'resource-account',
    policies: ['the account of the resource'],
    operations: 'all',
    ceph: 'denies',
    decisions: 7,
  },
  {
    cause: 'source-identity',
    policies: ['denied by SourceIdentity'],
    operations: 'all',
    ceph: 'allows',
    decisions: 20,
  },
  {
    cause: 'if-none-match',
    policies: ['compiled s3.object create'],
    operations: ['create t1/a'],
    ceph: 'denies',
    decisions: 1,
  },
  { cause: 'not-action', policies: ['NotAction allow'], operations: 'all', ceph: 'denies', decisions: 15 },
  {
    cause: 'negated-absent',
    policies: ['a negated key that is absent'],
    operations: ['list all', 'head bucket'],
    ceph: 'allows',
    decisions: 2,
  },
  {
    cause: 'negated-absent',
    policies: ['a negated allow'],
    operations: ['list all', 'head bucket'],
    ceph: 'denies',
    decisions: 2,
  },
  {
    cause: 'null-value',
    policies: ['a list with any prefix'],
    operations: ['list all', 'head bucket'],
    ceph: 'allows',
    decisions: 2,
  },
  {
    cause: 'null-value',
    policies: ['a list with any prefix'],
    operations: ['list t1/', 'list t1', 'list t2/', 'list t1/ by /'],
    ceph: 'denies',
    decisions: 4,
  },
  {
    cause: 'escaped-star',
    policies: ['an escaped star'],
    operations: ['get t1/*'],
    ceph: 'denies',
    decisions: 1,
  },
];
