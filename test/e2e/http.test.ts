import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startWorld, type World } from './world.ts';

/** What every answer of the API keeps to, whoever makes it. */
let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { requestTimeout: '400ms', refusalRowsPerSecond: 1000 } });
}, 60_000);

afterAll(() => world.stop());

/** What comes back on a bare socket, until it is closed. */
function raw(text: string): Promise<string> {
  const { hostname, port, host } = new URL(world.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () =>
      socket.write(`${text.replace('HOST', `host: ${host}\r\nconnection: close`)}\r\n\r\n`),
    );
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk;
    });
    socket.once('close', () => resolve(answer));
    socket.once('error', reject);
  });
}

const form = { 'content-type': 'application/x-www-form-urlencoded' };

test('HEAD answers as GET does, without the body', async () => {
  const bearer = await world.person();
  for (const path of [
    '/jwks',
    '/openapi.json',
    '/.well-known/oauth-authorization-server',
    '/v1/tasks',
    '/v1/nothing',
  ]) {
    const headers = { authorization: `Bearer ${bearer}` };
    const [get, head] = [
      await fetch(`${world.url}${path}`, { headers }),
      await fetch(`${world.url}${path}`, { method: 'HEAD', headers }),
    ];
    expect([path, head.status, head.headers.get('content-type'), await head.text()]).toEqual([
      ...[path, get.status, get.headers.get('content-type'), ''],
    ]);
  }
  const posting = await fetch(`${world.url}/token`, { method: 'HEAD' });
  expect([posting.status, posting.headers.get('allow')]).toEqual([405, 'POST']);
  expect((await world.api('DELETE', '/jwks')).headers.get('allow')).toBe('GET, HEAD');
});

test('a media type knows no case', async () => {
  const bearer = await world.person();
  const yaml = 'apiVersion: mayfly/v1\n';
  for (const type of ['Application/YAML', 'APPLICATION/yaml; charset=utf-8']) {
    const answer = await world.api('POST', '/v1/plan?set=x', {
      bearer,
      yaml,
      headers: { 'content-type': type },
    });
    expect([type, answer.body.reason]).toEqual([type, 'document_invalid']);
  }
  const answer = await world.exchange('grant_type=x', {
    'content-type': 'Application/X-WWW-Form-Urlencoded',
  });
  expect(answer.body.reason).toBe('unsupported_grant_type');
});

test('no answer lets a page of another origin read it, preflights included', async () => {
  const headers = {
    ...{ origin: 'https://evil.example', 'access-control-request-method': 'POST' },
    'access-control-request-headers': 'authorization',
  };
  for (const path of ['/token', '/introspect', '/revoke', '/jwks', '/v1/tasks']) {
    for (const method of ['OPTIONS', 'POST']) {
      const answer = await fetch(`${world.url}${path}`, { method, headers: { ...headers, ...form } });
      const names = [...answer.headers.keys()].filter((name) => name.startsWith('access-control-'));
      expect([path, method, names]).toEqual([path, method, []]);
    }
    expect((await fetch(`${world.url}${path}`, { method: 'OPTIONS', headers })).status).toBe(405);
  }
});

test('an OAuth answer is JSON and never stored, whatever Accept says', async () => {
  for (const path of ['/token', '/introspect', '/revoke'])
    for (const [method, headers] of [
      ['POST', { ...form, accept: 'text/html' }],
      ['POST', { 'content-type': 'text/html' }],
      ['GET', { accept: 'application/xml' }],
    ] as const) {
      const answer = await fetch(`${world.url}${path}`, { method, headers });
      const shape = ['content-type', 'cache-control', 'pragma'].map((name) => answer.headers.get(name));
      expect([path, method, ...shape]).toEqual([path, method, 'application/json', 'no-store', 'no-cache']);
      expect(Object(await answer.json()).error).toEqual(expect.any(String));
    }
});

test.each<readonly [string, string, number]>([
  ['nonsense', 'NONSENSE', 400],
  ['headers without end', `GET /jwks HTTP/1.1\r\nHOST\r\nx: ${'y'.repeat(20_000)}`, 431],
  ['no Host', 'POST /token HTTP/1.1\r\nconnection: close', 400],
  ['two lengths', 'POST /token HTTP/1.1\r\nHOST\r\ncontent-length: 1\r\ncontent-length: 2', 400],
  [
    'a body that never comes',
    'POST /token HTTP/1.1\r\nHOST\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9',
    408,
  ],
  ['an unknown expectation', 'POST /token HTTP/1.1\r\nHOST\r\nexpect: the-best\r\ncontent-length: 0', 400],
])('what node itself would refuse has the shape of all refusals: %s', async (_, text, status) => {
  const answer = await raw(text);
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  for (const header of [
    'content-type: application/json',
    'cache-control: no-store',
    'pragma: no-cache',
    'x-content-type-options: nosniff',
  ])
    expect(head.toLowerCase()).toContain(header);
  expect(JSON.parse(body)).toMatchObject({ error: 'invalid_request', reason: expect.any(String) });
});

test('an introspection whose body cannot be read is recorded, once', async () => {
  const count = async () =>
    (await world.sql<{ n: string }>(`select count(*) n from audit_entry where type = 'request.refused'`))[0]
      ?.n;
  const before = Number(await count());
  const answer = await fetch(`${world.url}/introspect`, {
    method: 'POST',
    body: 'x',
    headers: { 'content-type': 'text/plain' },
  });
  expect(answer.status).toBe(400);
  expect(Number(await count())).toBe(before + 1);
});
