import type { MintPlan, PlanCheck } from '@mayfly/core';
import { uuidTime } from '@mayfly/protocol';
import { z } from 'zod';
import { insidePattern } from '../inside-pattern.ts';

// Written apart from plan.ts and sas.ts: this reads what would be sent, knows nothing of how it was made, and shares no
// code with them.
const sent = z.strictObject({
  tenant: z.string(),
  client: z.string(),
  account: z.string(),
  url: z.string(),
  resource: z.string(),
  sas: z.string().max(512),
  keySeconds: z.number().int().min(1).max(360),
});
type Sent = z.output<typeof sent>;
type Allowed = Parameters<PlanCheck>[1];

/** The one spelling of a SAS that is ever signed: nothing twice, nothing more, no other order. */
const spelling =
  /^sp=([rcwdl]{1,5})&se=(\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\dZ)&spr=https&sv=2023-11-03&sr=(?:(b)|d&sdd=([1-9][0-9]?))(?:&scid=([0-9a-f-]{36}))?$/;

/** Which verb each letter needs; a letter that is not here is never sent. */
const verbFor: ReadonlyMap<string, string> = new Map([
  ['r', 'read'],
  ['c', 'create'],
  ['w', 'write'],
  ['d', 'delete'],
  ['l', 'list'],
]);

const lifeMsMax = 300_000;
/** An exchange takes less; its id was made when it began. */
const lifeSlackMs = 2_000;

export const checkAzurePlan: PlanCheck = (plan, allowed) => {
  const parsed = sent.safeParse(plan.body);
  if (!parsed.success) return 'body: not the known form';
  return (
    checkCeilings(parsed.data, allowed) ??
    checkTarget(plan, parsed.data, allowed) ??
    checkSas(plan, parsed.data, allowed) ??
    checkPromises(plan)
  );
};

function checkCeilings({ tenant, client, account }: Sent, { provider, mint }: Allowed): string | null {
  const { clients, accounts, tenant: home } = provider.spec;
  if (tenant !== home) return 'tenant is not that of the provider';
  if (!Array.isArray(clients) || !clients.includes(client)) return 'client is not a ceiling of the provider';
  if (client !== (mint['client'] ?? clients[0])) return 'client is not the one that the grant names';
  if (!Array.isArray(accounts) || !accounts.includes(account))
    return 'account is not a ceiling of the provider';
  return null;
}

function checkTarget(plan: MintPlan, { account, url, resource }: Sent, allowed: Allowed): string | null {
  const { identifier, provider } = allowed;
  const home = `https://${account}.blob.core.windows.net/`;
  if (!identifier.startsWith(home)) return 'the identifier is in another account';
  // No character that a URL parser, a proxy or Azure would read as another one.
  if (!URL.canParse(identifier) || new URL(identifier).href !== identifier || /[%?#*\\]/.test(identifier))
    return 'the identifier is no plain URL';
  const directory = identifier.endsWith('/');
  if (plan.access !== (directory ? 'blob.directory' : 'blob.object'))
    return 'the identifier has another size';
  const path = identifier.slice(home.length, directory ? -1 : undefined);
  const [container = '', ...names] = path.split('/');
  if (!/^[a-z0-9-]{3,63}$/.test(container) || names.length === 0) return 'the identifier names no blob';
  if (names.some((name) => name === '' || name.endsWith('.'))) return 'Azure would read another name';
  if (!insidePattern(allowed.resource, identifier)) return 'the identifier lies outside the grant';
  if (resource !== `/blob/${account}/${path}`) return 'the signed resource is not the one thing asked for';
  const blob: unknown = Reflect.get(Object(provider.spec['endpoints']), 'blob');
  const base = typeof blob === 'string' ? `${blob}/${account}/` : home;
  return url === base + path ? null : 'the URL is not the one thing asked for';
}

function checkSas(plan: MintPlan, { sas, resource }: Sent, allowed: Allowed): string | null {
  const found = spelling.exec(sas);
  if (found === null) return 'sas: not in its one spelling';
  const [, letters = '', end = '', blob, depth, correlationId] = found;
  const endsAt = Date.parse(decodeURIComponent(end));
  if (!(endsAt <= allowed.notAfter.getTime())) return 'se is later than allowed';
  if (endsAt !== Date.parse(plan.notAfter)) return 'se is not the end of the plan';
  // The id was made when the exchange began, so its time stands for now.
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(plan.issuanceId)) return 'no id of an issuance';
  if (!(endsAt - uuidTime(plan.issuanceId).getTime() <= lifeMsMax + lifeSlackMs))
    return 'lives longer than any SAS';
  if ((blob === undefined) !== (plan.access === 'blob.directory')) return 'sr is of another size';
  // `/blob/ACCOUNT/CONTAINER/` and then as many segments as sdd says: fewer would open the directory above.
  if (depth !== undefined && resource.split('/').length - 4 !== Number(depth)) return 'sdd is another depth';
  const expected = allowed.provider.spec['correlationId'] === false ? undefined : plan.issuanceId;
  if (correlationId !== expected) return 'scid does not name the issuance';
  return checkLetters(letters, plan);
}

function checkLetters(letters: string, plan: MintPlan): string | null {
  const each = [...letters];
  for (const letter of each) {
    const verb = verbFor.get(letter);
    if (verb === undefined || !plan.actions.includes(verb)) return `permission ${letter} exceeds the actions`;
    if (letter === 'l' && plan.access !== 'blob.directory') return 'one blob cannot be listed';
  }
  if (new Set(each).size !== each.length) return 'a permission stands there twice';
  return JSON.stringify(each) === JSON.stringify(plan.nativePermissions)
    ? null
    : 'permissions are not those of the plan';
}

/** What the caller and the log are told must not be better than what is sent. */
function checkPromises({ ends, enforcement, tokenType, issuedTokenType, reach, body }: MintPlan) {
  if (ends.by !== 'expired') return 'no single SAS can be taken back';
  if (reach !== body['account']) return 'reach is not the account';
  const { resource, actions, ttl } = enforcement;
  if (resource !== 'provider' || actions !== 'provider' || ttl !== 'provider')
    return 'enforcement is not what is sent';
  if (tokenType !== 'N_A' || issuedTokenType !== 'urn:mayfly:token-type:azure-sas')
    return 'token type is not that of a SAS';
  return null;
}
