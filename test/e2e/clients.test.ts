import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ExternalAccountClient } from 'google-auth-library';
import { decodeJwt } from 'jose';
import * as openid from 'openid-client';
import { accessTokenType, form, jwtType, opening, startWorld, tokenExchange, type World } from './world.ts';

/** Clients that others wrote, unmodified, as judges of the surface. */
let world: World;
let dir: string;

beforeAll(async () => {
  world = await startWorld();
  dir = mkdtempSync(join(tmpdir(), 'mayfly-clients-'));
}, 60_000);

afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await world.stop();
});

const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };

async function openedGrant(ref: string): Promise<{ grant: string; taskToken: string }> {
  const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' }, ref };
  const { body } = await world.api('POST', '/v1/tasks', { bearer: await world.workload(), json });
  const grant = body.grants.find(({ tool }: { tool: string }) => tool === 'report.post');
  return { grant: `${world.url}/grants/${grant.id}`, taskToken: body.taskToken };
}

async function isActive(token: string): Promise<boolean> {
  const answer = await fetch(`${world.url}/introspect`, {
    method: 'POST',
    body: new URLSearchParams({ token }),
    headers: { authorization: `Bearer ${await world.workload('tools/reports')}` },
  });
  return Object(await answer.json()).active;
}

const discovered = (id: string, auth = openid.None()) =>
  openid.discovery(new URL(world.url), id, undefined, auth, {
    algorithm: 'oauth2',
    execute: [openid.allowInsecureRequests],
  });

test('openid-client exchanges, reads a refusal, and revokes', async () => {
  const config = await discovered('any-client');
  const { grant_type: grantType = '', ...parameters } = form(await world.workload(), {
    ...opening('openid-client'),
    ...report,
  });
  const tokens = await openid.genericGrantRequest(config, grantType, parameters);
  expect(tokens).toMatchObject({
    ...{ token_type: 'bearer', scope: 'write', issued_token_type: accessTokenType },
    authorization_details: [{ type: 'mayfly_tool_call', ...report, actions: ['write'] }],
  });
  expect(tokens.expiresIn()).toBeGreaterThan(0);
  const refused = openid.genericGrantRequest(config, grantType, { ...parameters, scope: 'delete' });
  await expect(refused).rejects.toMatchObject({ error: 'invalid_scope', status: 400 });
  const { authorization_details: neighbour = '' } = form('', {
    ...opening('openid-client'),
    ...{ ...report, identifier: 'https://reports.example/2026q4' },
  });
  const beside = { ...parameters, subject_token: await world.workload(), authorization_details: neighbour };
  await expect(openid.genericGrantRequest(config, grantType, beside)).rejects.toMatchObject({
    ...{ error: 'invalid_target', status: 400 },
    cause: { reason: 'resource_outside_grant' },
  });
  const taskToken = String(tokens['task_token']);
  const asBearer: openid.ClientAuth = (_server, _client, _body, headers) => {
    headers.set('authorization', `Bearer ${taskToken}`);
  };
  await openid.tokenRevocation(await discovered('any-client', asBearer), tokens.access_token);
  expect(await isActive(tokens.access_token)).toBe(false);
});

test('google-auth-library takes a stored grant as its audience, as in a credential file', async () => {
  const { grant } = await openedGrant('google');
  const source = join(dir, 'assertion');
  writeFileSync(source, await world.workload(), { mode: 0o600 });
  const file = {
    ...{ type: 'external_account', audience: grant, subject_token_type: jwtType },
    ...{ token_url: `${world.url}/token?ignored=1`, credential_source: { file: source } },
    scopes: ['https://www.googleapis.com/auth/devstorage.read_only'],
  };
  const made = () => ExternalAccountClient.fromJSON(file) ?? Promise.reject(new Error('not understood'));
  const { token } = await (await made()).getAccessToken();
  expect(decodeJwt(String(token))).toMatchObject({
    aud: 'https://reports.example/mcp',
    sub: 'local/reconciler',
  });
  expect(await isActive(String(token))).toBe(true);
  // The assertion is used up, so the next ask is refused, and the library says why.
  const again = (await made()).getAccessToken();
  await expect(again).rejects.toThrow(/invalid_request/);
});

/** Debian's own Python, which is where its packages are. */
const python = '/usr/bin/python3';

async function run(script: string): Promise<string> {
  const env = { ...process.env, AUTHLIB_INSECURE_TRANSPORT: '1' };
  try {
    return (await promisify(execFile)(python, ['-c', script], { env, encoding: 'utf8' })).stdout;
  } catch (error) {
    return String(Reflect.get(Object(error), 'stderr'));
  }
}

test('Authlib, in Python, exchanges, reads a refusal, and revokes', async () => {
  const there = existsSync(python) && (await run('import authlib.integrations.requests_client')) === '';
  if (!there) return console.log('skipped: python3-authlib and python3-requests are not installed');
  const { grant, taskToken } = await openedGrant('authlib');
  const script = `
from authlib.integrations.requests_client import OAuth2Session
from authlib.integrations.base_client.errors import OAuthError
client = OAuth2Session('any', token_endpoint_auth_method='none')
def exchange(**more):
    return client.fetch_token('${world.url}/token', grant_type='${tokenExchange}', subject_token='${taskToken}',
        subject_token_type='${accessTokenType}', audience='${grant}', **more)
token = exchange()
print(token['token_type'], token['scope'], token['access_token'])
try: exchange(scope='delete')
except OAuthError as e: print(e.error)
answer = client.revoke_token('${world.url}/revoke', token=token['access_token'], token_type_hint='access_token',
    headers={'Authorization': 'Bearer ${taskToken}', 'Content-Type': 'application/x-www-form-urlencoded'})
print(answer.status_code)
`;
  const lines = (await run(script)).trim().split('\n');
  const [type, scope, token = ''] = lines[0]?.split(' ') ?? [];
  expect([type, scope, ...lines.slice(1)]).toEqual(['Bearer', 'write', 'invalid_scope', '200']);
  expect(await isActive(token)).toBe(false);
});
