import type { DenyWidened, DenyWrite } from '@mayfly/core';

/** Inline policies of a role: 10,240 characters in all, 2,000 of them kept for its own (cloud-aws.md section 3). */
export const denyCharactersMax = 8_240;
/** From here on somebody should spread the provider over more roles. */
export const denyAlarmFraction = 0.7;
/** Clocks of AWS and ours: sessions issued so much after the cut are hit as well, rather than one before it missed. */
const cutMarginMs = 30_000;

/** `mf-` and the first characters of an id: ten are the millisecond it was made in, each less is 32 times as long. */
const prefixCharacters = { most: 'mf-'.length + 9, least: 'mf-'.length + 6 } as const;

/** A session name of plan.ts: 40 digits of a hash, which no SourceIdentity has. */
const sessionNameForm = /^mf-[0-9a-f]{40}$/;

type Content = Pick<DenyWrite, 'version' | 'entries'>;

/**
 * Denies everything to these SourceIdentities and session names; positive operators, so that other sessions are
 * untouched. `widened` is what a document says that could not name each: it hits others too.
 */
export function denyPolicy({ version, entries }: Content, widened: DenyWidened | null = null): string {
  switch (widened?.step) {
    case undefined:
      return documentOf(version, { entries, prefixes: [] });
    case 'cohort': {
      const { prefixes } = widened;
      const [known, lengths] = [new Set(prefixes), new Set(prefixes.map(({ length }) => length))];
      const isNamed = (one: string) => [...lengths].some((length) => known.has(one.slice(0, length)));
      const single = entries.filter((one) => !isNamed(one));
      return documentOf(version, { entries: single, prefixes });
    }
    case 'issued-before':
      return statements([
        {
          Sid: `MayflyDenyV${version}`,
          Condition: { DateLessThan: { 'aws:TokenIssueTime': widened.issuedBefore } },
        },
      ]);
    case 'everything':
      return statements([{ Sid: `MayflyDenyV${version}` }]);
    default:
      return widened satisfies never;
  }
}

/**
 * The narrowest step that fits: none; a prefix in place of identities that were made together; everything that was
 * issued until now. Null: each is named.
 */
export function widen(content: Content, now: Date): DenyWidened | null {
  if (fits(content, null)) return null;
  for (let length = prefixCharacters.most; length >= prefixCharacters.least; length -= 1) {
    const cohort = { step: 'cohort', prefixes: sharedPrefixes(content.entries, length) } as const;
    if (fits(content, cohort)) return cohort;
  }
  return issuedBefore(now);
}

/** Of thousands it is told by their number alone: each takes two quotes and two characters at least. */
function fits(content: Content, widened: (DenyWidened & { step: 'cohort' }) | null): boolean {
  const named = widened === null ? content.entries.length : widened.prefixes.length;
  return named * 4 <= denyCharactersMax && denyPolicy(content, widened).length <= denyCharactersMax;
}

/** What is tried where IAM has no room even for that: the role's own policies fill it. */
export function wider(widened: DenyWidened | null, now: Date): DenyWidened | null {
  switch (widened?.step) {
    case undefined:
    case 'cohort':
      return issuedBefore(now);
    case 'issued-before':
      return { step: 'everything' };
    case 'everything':
      return null;
    default:
      return widened satisfies never;
  }
}

function issuedBefore(now: Date): DenyWidened {
  const cut = new Date(Math.ceil((now.getTime() + cutMarginMs) / 1000) * 1000);
  return { step: 'issued-before', issuedBefore: cut.toISOString().replace('.000Z', 'Z') };
}

/** Of so many characters, each shared by two identities or more. */
function sharedPrefixes(entries: readonly string[], length: number): readonly string[] {
  const counts = new Map<string, number>();
  for (const one of entries) {
    if (sessionNameForm.test(one)) continue;
    const prefix = one.slice(0, length);
    counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
  }
  return [...counts]
    .filter(([, count]) => count > 1)
    .map(([prefix]) => prefix)
    .sort();
}

function documentOf(
  version: number,
  { entries, prefixes }: { entries: readonly string[]; prefixes: readonly string[] },
): string {
  const identities = entries.filter((one) => !sessionNameForm.test(one));
  // `aws:userid` of a session is `ROLEID:SESSION`.
  const names = entries.filter((one) => sessionNameForm.test(one)).map((one) => `*:${one}`);
  const cohorts = prefixes.map((one) => `${one}*`);
  const named = [
    { kind: '', values: identities, Condition: { StringEquals: { 'aws:SourceIdentity': identities } } },
    { kind: 'Names', values: names, Condition: { StringLike: { 'aws:userid': names } } },
    { kind: 'Cohorts', values: cohorts, Condition: { StringLike: { 'aws:SourceIdentity': cohorts } } },
  ];
  const told = named.filter(({ values }) => values.length > 0);
  return statements(told.map(({ kind, Condition }) => ({ Sid: `MayflyDeny${kind}V${version}`, Condition })));
}

function statements(list: readonly { readonly Sid: string; readonly Condition?: object }[]): string {
  const whole = list.map(({ Sid, ...rest }) => ({
    Sid,
    Effect: 'Deny',
    Action: '*',
    Resource: '*',
    ...rest,
  }));
  return JSON.stringify({ Version: '2012-10-17', Statement: whole });
}
