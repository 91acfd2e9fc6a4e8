import type { IncomingMessage, ServerResponse } from 'node:http';
import type Provider from 'oidc-provider';
import type { Adapter, Interaction } from 'oidc-provider';

/** A program that may have people sign in here. */
export interface IssuerClient {
  readonly clientId: string;
  /** Left out: a public client. */
  readonly clientSecret?: string;
  readonly redirectUris: readonly string[];
}

type Claims = Readonly<Record<string, unknown>>;

/** Who has said who they are, since the start. */
export type Accounts = Map<string, Claims>;

const path = '/dev/sign-in';

/** What the provider needs to sign people in: real codes, PKCE, nonce and id_tokens, with the claims that were stated. */
export function peopleConfiguration(clients: readonly IssuerClient[], accounts: Accounts) {
  return {
    clients: clients.map(({ clientId, clientSecret, redirectUris }) => ({
      client_id: clientId,
      ...(clientSecret === undefined
        ? { token_endpoint_auth_method: 'none' }
        : { client_secret: clientSecret, token_endpoint_auth_method: 'client_secret_basic' }),
      redirect_uris: [...redirectUris],
      id_token_signed_response_alg: 'ES256',
    })),
    claims: { openid: ['sub', 'groups', 'email'] },
    conformIdTokenClaims: false, // Many real ones put claims into the id_token as well.
    interactions: { url: () => path },
    findAccount: async (_context: unknown, accountId: string) => ({
      accountId,
      claims: async () => ({ ...accounts.get(accountId), sub: accountId }),
    }),
    adapter: inMemory(),
    ttl: {
      AccessToken: 60,
      AuthorizationCode: 60,
      Grant: 3600,
      IdToken: 300,
      Interaction: 600,
      Session: 3600,
    },
  };
}

export interface PeopleSignIn {
  readonly provider: Provider;
  readonly accounts: Accounts;
  /** What the form's `key` must be: on a shared machine nobody else becomes an admin. */
  allows(key: string): boolean;
  readText(request: IncomingMessage): Promise<string>;
}

/** The page where one says who one is, and its form; true when the request was one of these. */
export function servePeople(request: IncomingMessage, response: ServerResponse, of: PeopleSignIn): boolean {
  if (request.url?.split('?')[0] !== path) return false;
  void answer(request, response, of).catch((error: unknown) => {
    response.writeHead(400, { 'content-type': 'text/plain' }).end(`${String(error)}\n`);
  });
  return true;
}

async function answer(request: IncomingMessage, response: ServerResponse, of: PeopleSignIn): Promise<void> {
  const { provider, accounts, allows, readText } = of;
  const interaction = await provider.interactionDetails(request, response);
  if (request.method !== 'POST')
    return void response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(form);
  const sent = new URLSearchParams(await readText(request));
  if (!allows(sent.get('key') ?? '')) return void response.writeHead(403).end('the key is another\n');
  if (sent.get('cancel') === 'yes')
    return provider.interactionFinished(request, response, { error: 'access_denied' });
  const accountId = sent.get('subject') ?? '';
  const groups = (sent.get('groups') ?? '').split(',').filter((group) => group !== '');
  accounts.set(accountId, { groups });
  const grantId = await grantOf(provider, { interaction, accountId });
  await provider.interactionFinished(request, response, { login: { accountId }, consent: { grantId } });
}

function grantOf(
  provider: Provider,
  { interaction, accountId }: { interaction: Interaction; accountId: string },
): Promise<string> {
  const grant = new provider.Grant({ accountId, clientId: String(interaction.params['client_id']) });
  grant.addOIDCScope(String(interaction.params['scope']));
  return grant.save();
}

const form = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Local people</title>
<h1>Who are you?</h1><p>A stand-in for your organisation’s sign-in. The key is assertionBearer in dev.json.</p>
<form method="post">
<p><input name="subject" value="jane@corp.example" aria-label="Subject">
<p><input name="groups" value="platform" aria-label="Groups">
<p><input name="key" type="password" aria-label="Key">
<p><button type="submit">Sign in</button> <button name="cancel" value="yes">Cancel</button>
</form></html>
`;

function inMemory(): (model: string) => Adapter {
  const rows = new Map<string, Record<string, unknown>>();
  return (model) => {
    const key = (id: string) => `${model}:${id}`;
    const findWith = async (name: string, value: string) =>
      [...rows].find(([id, row]) => id.startsWith(`${model}:`) && row[name] === value)?.[1];
    return {
      upsert: async (id, payload) => void rows.set(key(id), { ...payload }),
      find: async (id) => rows.get(key(id)),
      findByUid: (uid) => findWith('uid', uid),
      findByUserCode: (userCode) => findWith('userCode', userCode),
      destroy: async (id) => void rows.delete(key(id)),
      consume: async (id) => {
        const row = rows.get(key(id));
        if (row !== undefined) row['consumed'] = Math.floor(Date.now() / 1000);
      },
      revokeByGrantId: async (grantId) => {
        for (const [id, row] of rows) if (row['grantId'] === grantId) rows.delete(id);
      },
    };
  };
}
