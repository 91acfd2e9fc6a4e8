import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseId } from '@mayfly/protocol';
import * as oauth from 'oauth4webapi';
import { s3Status } from './s3.ts';
import { type Answer, accessTokenType, form, opening, startWorld, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { refusalRowsPerSecond: 1000 } });
  const scoped = (name: string, scope: string) => `apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: ${name} }
spec: { roles: [operator], subjects: [{ issuer: people, match: { groups: ${name} } }], scope: ${scope} }
`;
  const yaml = [
    scoped('elsewhere', '{ templates: ["other-*"] }'),
    scoped('this-cloud', '{ providers: ["local-aws"] }'),
    scoped('this-template', '{ templates: ["invoice-*"] }'),
  ].join('---\n');
  const applied = await world.api('POST', '/v1/apply?set=revoke', { bearer: await world.person(), yaml });
  if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
}, 60_000);

afterAll(() => world.stop());

const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };

async function revoke(bearer: string | null, body: Record<string, string> | string): Promise<Answer> {
  const headers: Record<string, string> = { 'content-type': 'application/x-www-form-urlencoded' };
  if (bearer !== null) headers['authorization'] = `Bearer ${bearer}`;
  const form = new URLSearchParams(body);
  const answer = await fetch(`${world.url}/revoke`, { method: 'POST', headers, body: form });
  return { status: answer.status, body: await answer.json(), headers: answer.headers };
}

async function issue(ref: string, detail: Record<string, unknown> = {}): Promise<Answer['body']> {
  const { status, body } = await world.exchange(form(await world.workload(), { ...opening(ref), ...detail }));
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body;
}

const again = async (taskToken: string, detail: Record<string, unknown> = {}) =>
  (await world.exchange(form(taskToken, detail, { subject_token_type: accessTokenType }))).body;

async function isActive(token: string): Promise<boolean> {
  const answer = await fetch(`${world.url}/introspect`, {
    method: 'POST',
    body: new URLSearchParams({ token }),
    headers: { authorization: `Bearer ${await world.workload('tools/reports')}` },
  });
  return Object(await answer.json()).active;
}

const shown = async (id: string) =>
  (await world.api('GET', `/v1/issuances/${id}`, { bearer: await world.person() })).body;

async function shownAs(id: string, state: string): Promise<Record<string, unknown>> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const issuance = await shown(id);
    if (issuance.state === state || Date.now() > deadline) return issuance;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** All that a revocation could change, and how many events it wrote. */
async function footprint() {
  const [row] = await world.sql<Record<string, string>>(
    `select (select count(*) from issuance_end) ends, (select count(*) from work where state = 'revoking') revoking,
      (select sum(generation) from task_grant) generations, (select count(*) from task where state = 'open') open_tasks,
      (select count(*) from audit_entry where type = 'credential.revoke_requested') requested`,
  );
  const [ignored] = await world.sql<{ n: string }>(
    `select count(*) n from audit_entry where type = 'credential.revoke_ignored'`,
  );
  return { row, ignored: Number(ignored?.n) };
}

test('a tool token is inactive from the answer on; its sibling and the grant live', async () => {
  const first = await issue('tool', report);
  const sibling = await again(first.task_token, report);
  expect([await isActive(first.access_token), await isActive(sibling.access_token)]).toEqual([true, true]);
  const answer = await revoke(first.task_token, { token: first.access_token, token_type_hint: 'nonsense' });
  expect([answer.status, answer.body]).toEqual([200, {}]);
  expect([await isActive(first.access_token), await isActive(sibling.access_token)]).toEqual([false, true]);
  const ended = { state: 'ended', endedBy: 'denied', endedAt: expect.any(String) };
  expect(await shown(first.issuance.id)).toMatchObject({ ...ended, revokeRequestedAt: expect.any(String) });
  expect((await again(first.task_token, report)).access_token).toEqual(expect.any(String));
});

test('a credential of the cloud is named by its issuance id: the cloud refuses it, and the grant goes on', async () => {
  const first = await issue('cloud');
  const sibling = await again(first.task_token);
  expect(await s3Status(world, first.access_token, '2026q3/a.pdf')).toBe(200);
  expect((await revoke(first.task_token, { token: first.issuance.id })).status).toBe(200);
  // AWS takes back the SourceIdentity of grant and generation, so what shares it ends too, and says so.
  for (const { issuance, access_token: keys } of [first, sibling]) {
    expect(await shownAs(issuance.id, 'ended')).toMatchObject({ state: 'ended', endedBy: 'denied' });
    expect(await s3Status(world, keys, '2026q3/a.pdf')).toBe(403);
  }
  const next = await again(first.task_token);
  expect(await s3Status(world, next.access_token, '2026q3/a.pdf')).toBe(200);
  const events = await world.sql(
    `select actor, body from mayfly_audit_v1 where type = 'credential.revoke_requested' and issuance_id = $1`,
    [parseId('isn', first.issuance.id)],
  );
  expect(events).toMatchObject([{ actor: 'local/reconciler' }]);
});

test('a task token ends its task', async () => {
  const first = await issue('task');
  expect((await revoke(first.task_token, { token: first.task_token })).status).toBe(200);
  const { body } = await world.api('GET', `/v1/tasks/${first.issuance.task}`, {
    bearer: await world.person(),
  });
  expect([body.state, body.stateReason]).toEqual(['cancelled', 'its task token was revoked']);
  expect((await again(first.task_token)).reason).toBe('task_ended');
});

test('unknown, foreign, dead and malformed: the same bytes, nothing changed, each written down once', async () => {
  const [mine, tool] = [await issue('foreign'), await issue('foreign-tool', report)];
  const dead = await issue('dead', report);
  await revoke(dead.task_token, { token: dead.access_token });
  const ended = await issue('ended');
  await world.api('POST', `/v1/tasks/${ended.issuance.task}/end`, { bearer: ended.task_token });
  await shownAs(ended.issuance.id, 'ended');
  const other = await world.workload('tools/reports');
  const attempts: readonly (readonly [name: string, bearer: string, token: string])[] = [
    ['no such issuance', mine.task_token, 'isn_01K00000000000000000000000'],
    ['an id of another kind', mine.task_token, mine.issuance.task],
    ['a word', mine.task_token, 'nonsense'],
    ['dots', mine.task_token, 'a.b.c'],
    ['an altered token', mine.task_token, `${tool.access_token.slice(0, -4)}AAAA`],
    ['a token of another issuer', mine.task_token, await world.workload()],
    ['the keys themselves', mine.task_token, mine.access_token],
    ['another workload’s', other, tool.access_token],
    ['another workload’s id', other, mine.issuance.id],
    ['another workload’s task token', other, mine.task_token],
    ['another task of the same workload', mine.task_token, tool.access_token],
    ['dead', dead.task_token, dead.access_token],
    ['of an ended task', await world.workload(), ended.issuance.id],
    ['a task token of an ended task', await world.workload(), ended.task_token],
    ['a role whose scope lies elsewhere', await world.person(['elsewhere']), tool.access_token],
    ['a role for another provider', await world.person(['this-cloud']), tool.access_token],
    ['a scope of providers, and a task', await world.person(['this-cloud']), mine.task_token],
    ['an auditor', await world.person(['audit']), tool.access_token],
  ];
  for (const [name, bearer, token] of attempts) {
    const before = await footprint();
    const { status, body, headers } = await revoke(bearer, { token });
    expect([name, status, body, headers.get('content-length')]).toEqual([name, 200, {}, '2']);
    expect([name, await footprint()]).toEqual([name, { row: before.row, ignored: before.ignored + 1 }]);
  }
  expect(await isActive(tool.access_token)).toBe(true);
});

test('an operator revokes within his scope', async () => {
  const [tool, cloud] = [await issue('operated', report), await issue('operated-cloud')];
  await revoke(await world.person(['this-template']), { token: tool.access_token });
  expect(await isActive(tool.access_token)).toBe(false);
  await revoke(await world.person(['this-cloud']), { token: cloud.issuance.id });
  expect(await shownAs(cloud.issuance.id, 'ended')).toMatchObject({ endedBy: 'denied' });
  await revoke(await world.person(['this-template']), { token: cloud.task_token });
  expect((await again(cloud.task_token)).reason).toBe('task_ended');
});

test('nobody, no token and a repeated one are refused, and written down once', async () => {
  const count = async () =>
    Number(
      (await world.sql<{ n: string }>(`select count(*) n from audit_entry where type = 'request.refused'`))[0]
        ?.n,
    );
  const bearer = await world.workload();
  const refusals: readonly (readonly [string | null, string, number, string])[] = [
    [null, 'token=isn_01K00000000000000000000000', 401, 'unauthenticated'],
    ['nonsense', 'token=isn_01K00000000000000000000000', 401, 'unauthenticated'],
    [bearer, '', 400, 'missing_parameter'],
    [bearer, 'token=a&token=b', 400, 'repeated_parameter'],
    [bearer, `token=${'x'.repeat(70_000)}`, 413, 'body_too_large'],
  ];
  for (const [who, body, status, reason] of refusals) {
    const before = await count();
    const answer = await revoke(who, body);
    expect([answer.status, answer.body.reason]).toEqual([status, reason]);
    expect(await count()).toBe(before + 1);
  }
});

test('oauth4webapi revokes unmodified', async () => {
  const loopback = { [oauth.allowInsecureRequests]: true };
  const as = await oauth.processDiscoveryResponse(
    new URL(world.url),
    await oauth.discoveryRequest(new URL(world.url), { algorithm: 'oauth2', ...loopback }),
  );
  const first = await issue('oauth4webapi-revoke', report);
  const bearer: oauth.ClientAuth = (_as, _client, _body, headers) => {
    headers.set('authorization', `Bearer ${first.task_token}`);
  };
  const client = { client_id: 'any' };
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(as, client, bearer, first.access_token, loopback),
  );
  expect(await isActive(first.access_token)).toBe(false);
});

test('a token of an offline server lives until it expires, and the issuance says no better', async () => {
  const offline = await startWorld({
    edit: (text) => text.replace(/verification: introspect/, 'verification: offline'),
  });
  try {
    const { body } = await offline.exchange(
      form(await offline.workload(), { ...opening('offline'), ...report }),
    );
    const answer = await fetch(`${offline.url}/revoke`, {
      method: 'POST',
      body: new URLSearchParams({ token: body.access_token }),
      headers: { authorization: `Bearer ${body.task_token}` },
    });
    expect(answer.status).toBe(200);
    const [row] = await offline.sql(
      `select state, ended_at, ended_by, revoke_requested_at is not null as asked from mayfly_issuances_v1 where kind = 'agent'`,
    );
    expect(row).toEqual({ state: 'delivered', ended_at: null, ended_by: null, asked: true });
  } finally {
    await offline.stop();
  }
}, 60_000);
