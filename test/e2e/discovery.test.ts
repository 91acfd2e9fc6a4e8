import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import * as oauth from 'oauth4webapi';
import { accessTokenType, form, opening, startWorld, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { refusalRowsPerSecond: 1000 } });
}, 60_000);

afterAll(() => world.stop());

const server = '/.well-known/oauth-authorization-server';
const resource = '/.well-known/oauth-protected-resource';
const loopback = { [oauth.allowInsecureRequests]: true };

test('both names of the discovery document answer the same bytes, with the issuer byte for byte', async () => {
  const [ours, openid] = [
    await world.api('GET', server),
    await world.api('GET', '/.well-known/openid-configuration'),
  ];
  expect(ours.body).toEqual(openid.body);
  expect(ours.body.issuer).toBe(world.url);
  expect(ours.headers.get('cache-control')).toBe('public, max-age=300');
  for (const algorithm of ['oauth2', 'oidc'] as const)
    await oauth.processDiscoveryResponse(
      new URL(world.url),
      await oauth.discoveryRequest(new URL(world.url), { algorithm, ...loopback }),
    );
});

/** Every address in the document, wherever it stands. */
function addresses(value: unknown): string[] {
  if (typeof value === 'string') return value.startsWith(world.url) ? [value] : [];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(addresses) : [];
}

test('each address in the documents is served', async () => {
  const found = [server, resource].map(async (path) => addresses((await world.api('GET', path)).body));
  const all = [...new Set((await Promise.all(found)).flat())].filter((address) => address !== world.url);
  expect(all.length).toBeGreaterThanOrEqual(5);
  for (const address of all) {
    const path = address.slice(world.url.length);
    const read = await world.api('GET', path);
    // An endpoint that only takes POST says so, which an address that is not served does not.
    const served =
      read.status === 200 || (read.status === 405 && read.headers.get('allow')?.includes('POST'));
    expect([address, served]).toEqual([address, true]);
  }
});

test('what can be posted to is listed, and what is not listed is not there', async () => {
  const { body } = await world.api('GET', server);
  const listed = Object.entries<unknown>(body)
    .filter(([name]) => name.endsWith('_endpoint'))
    .map(([, address]) => String(address).slice(world.url.length));
  const tried = ['/token', '/introspect', '/revoke', '/register', '/par', '/userinfo', '/auth', '/authorize'];
  for (const path of tried) {
    const { status } = await world.api('POST', path);
    expect([path, status !== 404]).toEqual([path, listed.includes(path)]);
  }
});

test('each grant type listed is taken, and no other', async () => {
  const { body } = await world.api('GET', server);
  const listed: string[] = body.grant_types_supported;
  expect(listed.length).toBeGreaterThan(0);
  const others = ['authorization_code', 'refresh_token', 'client_credentials', 'password', 'implicit'].concat(
    [
      'urn:ietf:params:oauth:grant-type:device_code',
      'urn:ietf:params:oauth:grant-type:jwt-bearer',
      'urn:openid:params:grant-type:ciba',
    ],
  );
  for (const grantType of [...listed, ...others]) {
    const { body: answer } = await world.exchange({ grant_type: grantType });
    expect([grantType, answer.error === 'unsupported_grant_type']).toEqual([
      grantType,
      !listed.includes(grantType),
    ]);
  }
});

test('/v1 describes itself as a protected resource, and its challenge points there', async () => {
  const described = await oauth.processResourceDiscoveryResponse(
    new URL(world.url),
    await oauth.resourceDiscoveryRequest(new URL(world.url), loopback),
  );
  expect(described).toMatchObject({ resource: world.url, authorization_servers: [world.url] });
  const challenge = async (headers: Record<string, string>) => {
    const answer = await world.api('GET', '/v1/whoami', { headers });
    expect(answer.status).toBe(401);
    return answer.headers.get('www-authenticate');
  };
  const pointer = `resource_metadata="${world.url}${resource}"`;
  expect(await challenge({})).toBe(`Bearer realm="mayfly", ${pointer}`);
  expect(await challenge({ authorization: 'Basic YTpi' })).toBe(`Bearer realm="mayfly", ${pointer}`);
  const refused = `Bearer realm="mayfly", error="invalid_token", ${pointer}`;
  expect(await challenge({ authorization: 'Bearer nonsense' })).toBe(refused);
  expect(await challenge({ authorization: 'Bearer' })).toBe(refused);
});

test('the schema of a detail is the file in schemas/, and closed', async () => {
  const answer = await world.api('GET', '/schemas/mayfly_tool_call.json');
  const schema = JSON.parse(answer.body);
  const file = JSON.parse(
    readFileSync(new URL('../../schemas/mayfly_tool_call.json', import.meta.url), 'utf8'),
  );
  expect(schema).toEqual({ ...file, $id: `${world.url}/schemas/mayfly_tool_call.json` });
  expect([schema.required, schema.additionalProperties]).toEqual([['type', 'tool', 'identifier'], false]);
});

/** What a schema of an object says of this answer: members missing, and members that it does not know. */
function misfits(schema: { properties: object; required: string[] }, body: object): string[] {
  const known = Object.keys(schema.properties);
  return [
    ...schema.required.filter((name) => !Object.hasOwn(body, name)).map((name) => `missing ${name}`),
    ...Object.keys(body)
      .filter((name) => !known.includes(name))
      .map((name) => `unknown ${name}`),
  ];
}

test('the OpenAPI document has each OAuth endpoint, and what is answered fits its schemas', async () => {
  const { paths } = (await world.api('GET', '/openapi.json')).body;
  const { body: metadata } = await world.api('GET', server);
  for (const [name, address] of Object.entries<unknown>(metadata))
    if (name.endsWith('_endpoint'))
      expect(Object.keys(paths)).toContain(String(address).slice(world.url.length));
  const schema = (path: string, status: number) =>
    paths[path].post.responses[status].content['application/json'].schema;
  const sent = form(await world.workload(), {
    ...opening('openapi'),
    ...{ tool: 'report.post', identifier: 'https://reports.example/2026q3' },
  });
  const parameters = paths['/token'].post.requestBody.content['application/x-www-form-urlencoded'].schema;
  expect(misfits(parameters, sent)).toEqual([]);
  const { status, body } = await world.exchange(sent);
  expect([status, misfits(schema('/token', 200), body)]).toEqual([200, []]);
  const refused = await world.exchange(
    form(body.task_token, {}, { subject_token_type: accessTokenType, scope: 'x' }),
  );
  expect([refused.status, misfits(schema('/token', 400), refused.body)]).toEqual([400, []]);
  const post = async (path: string, bearer: string) => {
    const headers = { authorization: `Bearer ${bearer}` };
    const init = { method: 'POST', headers, body: new URLSearchParams({ token: body.access_token }) };
    return Object(await (await fetch(`${world.url}${path}`, init)).json());
  };
  const seen = await post('/introspect', await world.workload('tools/reports'));
  expect([seen.active, misfits(schema('/introspect', 200), seen)]).toEqual([true, []]);
  expect(misfits(schema('/introspect', 401), await post('/introspect', 'x'))).toEqual([]);
  expect(misfits(schema('/revoke', 200), await post('/revoke', body.task_token))).toEqual([]);
});
