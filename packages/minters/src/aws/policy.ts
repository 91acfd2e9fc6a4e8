import { Refusal } from '@mayfly/core';
import { type PolicyRow, policyRows, type StatementRow } from './rows.ts';

export interface PolicyInput {
  readonly access: string;
  readonly identifier: string;
  readonly actions: readonly string[];
  /** Account that owns the role and so the resource: against sniping. Without twelve digits there are no accounts. */
  readonly account: string;
  /** The KMS key that the resource is encrypted under, where the grant names one. */
  readonly kmsKey?: string | undefined;
  readonly notAfter: Date;
}

export interface CompiledPolicy {
  /** Compact JSON, exactly what is sent. */
  readonly text: string;
  readonly permissions: readonly string[];
}

/** The packed limit cannot be computed offline; the plain one is 2,048 characters (cloud-aws.md section 3). */
const policyCharactersMax = 1_800;

type Values = Readonly<Record<string, string | readonly string[]>>;

interface Statement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string;
  readonly Condition: Readonly<Record<string, Values>>;
}

/** The session policy of one tool on one resource, with its absolute end in every statement. Pure. */
export function compilePolicy(input: PolicyInput): CompiledPolicy {
  const row = Object.hasOwn(policyRows, input.access) ? policyRows[input.access] : undefined;
  if (row === undefined) throw new Refusal('tool_not_granted', { detail: `no access row ${input.access}` });
  const parts = { ...partsOf(input, row), ...keyParts(input, row) };
  const statements = row.statements.flatMap((one) => compileStatement(one, { input, parts }));
  if (statements.length === 0)
    throw new Refusal('action_outside_grant', { detail: 'no permission for these actions' });
  const text = JSON.stringify({ Version: '2012-10-17', Statement: statements });
  if (text.length > policyCharactersMax) throw malformed('the session policy would be too long');
  return { text, permissions: statements.flatMap(({ Action }) => Action) };
}

type Parts = Readonly<Record<string, string>>;

const accountForm = /^[0-9]{12}$/;

function compileStatement(
  row: StatementRow,
  { input, parts }: { input: PolicyInput; parts: Parts },
): Statement[] {
  const { actions } = input;
  if (isOnKey(row) && input.kmsKey === undefined) return [];
  if (row.without !== undefined && actions.includes(row.without)) return [];
  if (row.beside !== undefined && !actions.includes(row.beside)) return [];
  const permissions = Object.entries(row.permissions).flatMap(([verb, native]) =>
    actions.includes(verb) ? native : [],
  );
  if (permissions.length === 0) return [];
  const account = row.account === undefined ? input.account : fill(row.account, parts);
  const { StringEquals = {}, ...others } = row.conditions ?? {};
  // A key that Ceph lacks would deny all.
  const owner = accountForm.test(account) ? { 'aws:ResourceAccount': account } : {};
  const equal = { ...owner, ...fillAll(StringEquals, parts) };
  return [
    {
      Effect: 'Allow',
      Action: [...new Set(permissions)],
      Resource: fill(row.resource, parts),
      Condition: {
        DateLessThan: { 'aws:CurrentTime': input.notAfter.toISOString().replace('.000Z', 'Z') },
        ...(Object.keys(equal).length === 0 ? {} : { StringEquals: equal }),
        ...Object.fromEntries(Object.entries(others).map(([name, one]) => [name, fillAll(one, parts)])),
      },
    },
  ];
}

function isOnKey({ account }: StatementRow): boolean {
  return account === '{keyAccount}';
}

/** Once, so that what is filled in is never read as a template itself. */
function fill(template: string, parts: Parts): string {
  return template.replace(/\{([a-zA-Z]+)\}/g, (_, name: string) => {
    const part = parts[name];
    if (part === undefined) throw malformed(`the identifier has no ${name}`);
    return part;
  });
}

function fillAll(values: Values, parts: Parts): Values {
  const filled = Object.entries(values).map(([name, value]) => [
    name,
    typeof value === 'string' ? fill(value, parts) : value.map((one) => fill(one, parts)),
  ]);
  return Object.fromEntries(filled);
}

// In a policy `*`, `?` and `${` are wild; the rest is refused because two parsers read it differently. AWS policies
// allow only U+0020..U+00FF beside tab and line ends.
const unsafeKey = /[*?\\,"]|\$\{|(?:^|\/)\.{1,2}(?:\/|$)|\/\/|^\/|[^\u0020-\u00ff]|[\u007f-\u009f]/u;
/** S3's longest key; no other part of an identifier may be longer. */
const keyCharactersMax = 1_024;

function partsOf({ access, identifier, account }: PolicyInput, row: PolicyRow): Parts {
  const groups = row.form.exec(identifier)?.groups;
  if (groups === undefined) throw malformed(`not ${row.what}`);
  const { key = '' } = groups;
  if (key.length > keyCharactersMax || unsafeKey.test(key))
    throw malformed('the key holds what a policy would read as more than one');
  if (row.size === 'one' && key.endsWith('/')) throw malformed(`${access} opens one key, not a prefix`);
  if (row.size === 'prefix' && !key.endsWith('/')) throw malformed(`${access} opens one prefix ending in /`);
  if ((groups['account'] ?? account) !== account) throw malformed('the account is not that of the role');
  return { ...groups, identifier };
}

// A key by its id: an alias may be pointed at another key, and a policy does not follow it.
const keyArn =
  /^arn:aws(?:-us-gov)?:kms:(?<keyRegion>[a-z]{2}(?:-[a-z]+)+-[0-9]):(?<keyAccount>[0-9]{12}):key\/(?:[0-9a-f-]{36}|mrk-[0-9a-f]{32})$/;

function keyParts({ kmsKey, access }: PolicyInput, row: PolicyRow): Parts {
  if (kmsKey === undefined) return {};
  const groups = keyArn.exec(kmsKey)?.groups;
  if (groups === undefined)
    throw new Refusal('tool_not_granted', { detail: 'mint.kmsKey is no ARN of a key' });
  if (!row.statements.some(isOnKey))
    throw new Refusal('tool_not_granted', { detail: `${access} takes no KMS key` });
  return { ...groups, kmsKey };
}

function malformed(detail: string): Refusal {
  return new Refusal('identifier_malformed', { detail });
}
