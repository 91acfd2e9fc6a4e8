import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { form, opening, startWorld, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { refusalRowsPerSecond: 1000 } });
}, 60_000);

afterAll(() => world.stop());

async function count(text: string): Promise<number> {
  const [row] = await world.sql<{ n: string }>(`select count(*) n from ${text}`);
  return Number(row?.n);
}

const refusals = () => count("audit_entry where type = 'request.refused'");
const epoch = async () => (await world.sql<{ epoch: string }>('select epoch from config_epoch'))[0]?.epoch;

async function open(
  bearer: string,
  more: Record<string, unknown> = {},
  headers: Record<string, string> = {},
) {
  const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' }, ...more };
  return world.api('POST', '/v1/tasks', { bearer, json, headers });
}

test('every route of /v1 refuses a caller without assertion and one without the role, and records each once', async () => {
  const task = (await open(await world.workload())).body.id;
  const { body: openapi } = await world.api('GET', '/openapi.json');
  const paths = Object.entries<Record<string, { 'x-mayfly-access'?: unknown }>>(openapi.paths);
  const routes = paths.flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation['x-mayfly-access'] !== undefined)
      .map(([method, operation]) => ({
        method: method.toUpperCase(),
        target: path.replace('{id}', task).replace('{name}', 'x'),
        byRole: Array.isArray(operation['x-mayfly-access']),
      })),
  );
  expect(routes.filter(({ byRole }) => byRole).length).toBeGreaterThan(10);
  for (const { method, target, byRole } of routes) {
    const before = await refusals();
    const anonymous = await world.api(method, target);
    expect([target, anonymous.status, anonymous.body.reason]).toEqual([target, 401, 'unauthenticated']);
    expect(await refusals()).toBe(before + 1);
    if (!byRole) continue;
    const roleless = await world.api(method, target, { bearer: await world.workload() });
    expect([target, roleless.status, roleless.body.reason]).toEqual([target, 403, 'role_required']);
    expect(await refusals()).toBe(before + 2);
  }
});

const golden = new URL('../../packages/policy/golden/', import.meta.url);

test('each malformed YAML file is refused whole, changes nothing and is recorded once', async () => {
  const files = readdirSync(golden).filter((name) => name.endsWith('.yaml'));
  expect(files.length).toBeGreaterThanOrEqual(60);
  const bearer = await world.person();
  const before = await epoch();
  for (const name of files) {
    const recorded = await refusals();
    // One of them names the issuer of examples/, which has another address here.
    const text = readFileSync(new URL(name, golden), 'utf8');
    const yaml = text.replaceAll('http://127.0.0.1:4600', world.file.workloads);
    const { status, body } = await world.api('POST', '/v1/apply?set=golden', { bearer, yaml });
    expect([name, status, body.reason]).toEqual([name, 400, 'document_invalid']);
    expect(body.errors.length).toBeGreaterThan(0);
    for (const error of body.errors) expect(error).toMatch(/^request:\d+:\d+: /);
    expect(await refusals()).toBe(recorded + 1);
  }
  expect(await epoch()).toBe(before);
}, 60_000);

test('documents that need another set, or the bundle’s, are refused by name', async () => {
  const bearer = await world.person();
  const binding = (name: string) =>
    `apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: ${name} }\nspec: { roles: [auditor], subjects: [{ issuer: people, match: { groups: x } }] }\n`;
  expect((await world.api('POST', '/v1/apply?set=one', { bearer, yaml: binding('moved') })).status).toBe(200);
  const other = await world.api('POST', '/v1/apply?set=two', { bearer, yaml: binding('moved') });
  expect([other.status, other.body.reason]).toEqual([409, 'set_conflict']);
  const taken = await world.api('POST', '/v1/apply?set=two&takeOver=true', {
    bearer,
    yaml: binding('moved'),
  });
  expect(taken.status).toBe(200);
  const bundled = await world.api('POST', '/v1/apply?set=two&takeOver=true', {
    bearer,
    yaml: binding('auditors'),
  });
  expect([bundled.status, bundled.body.reason]).toEqual([409, 'bundle_read_only']);
  const named = await world.api('POST', '/v1/apply?set=bundle', { bearer, yaml: binding('moved') });
  expect([named.status, named.body.reason]).toEqual([409, 'bundle_read_only']);
});

test('a Provider does not become one of another type under its name', async () => {
  const bearer = await world.person();
  const provider = (spec: string) =>
    `apiVersion: mayfly/v1\nkind: Provider\nmetadata: { name: changing }\nspec: { ${spec} }\n`;
  const github =
    'type: github, appId: "1", installationId: "2", owner: acme, endpoints: { api: "http://127.0.0.1:9" }';
  const cluster =
    'type: kubernetes, cluster: c, serviceAccounts: [a/b], endpoints: { api: "http://127.0.0.1:9" }';
  const apply = (yaml: string, query = '') =>
    world.api('POST', `/v1/apply?set=changing${query}`, { bearer, yaml });
  expect((await apply(provider(cluster))).status).toBe(200);
  for (const path of ['plan', 'apply']) {
    const { status, body } = await world.api('POST', `/v1/${path}?set=changing`, {
      bearer,
      yaml: provider(github),
    });
    expect([status, body.reason]).toEqual([400, 'document_invalid']);
    expect(body.errors.join()).toContain('type-changed');
  }
  expect((await apply('', '&prune=true')).status).toBe(200);
  expect((await apply(provider(github))).body).toMatchObject({ changes: [{ action: 'create' }] });
});

test('nobody writes a binding that names himself, whatever his roles', async () => {
  const bearer = await world.person();
  const yaml =
    'apiVersion: mayfly/v1\nkind: RoleBinding\nmetadata: { name: mine }\nspec: { roles: [break-glass], subjects: [{ issuer: people, match: { groups: platform } }] }\n';
  const { status, body } = await world.api('POST', '/v1/apply?set=mine', { bearer, yaml });
  const problem = 'nobody writes a RoleBinding that names him';
  expect([status, body.reason, body.errors]).toEqual([403, 'role_required', [problem]]);
});

test('a once-only assertion gives a task token once, whichever route is asked', async () => {
  const opened = await open(await world.workload(), { ref: 'tokens' });
  const again = await world.workload();
  expect((await open(again, { ref: 'tokens' })).status).toBe(200);
  const replayed = await open(again, { ref: 'tokens' });
  expect([replayed.status, replayed.body.reason]).toEqual([401, 'assertion_replayed']);
  const beat = (bearer: string) => world.api('POST', `/v1/tasks/${opened.body.id}/heartbeat`, { bearer });
  const third = await world.workload();
  expect((await beat(third)).body.taskToken).toEqual(expect.any(String));
  // It goes on renewing the lease, and gives no second token.
  const second = await beat(third);
  expect([second.status, second.body.state, second.body.taskToken]).toEqual([200, 'open', undefined]);
  const mint = await world.exchange(form(third, { task: opened.body.id }));
  expect(mint.body.reason).toBe('assertion_replayed');
});

test('a task token sees its own task, its grants and issuances, and no sibling of the same workload', async () => {
  const mine = await open(await world.workload(), { ref: 'mine' });
  const sibling = await open(await world.workload(), { ref: 'sibling' });
  const bearer = mine.body.taskToken;
  const grantsOf = (task: string) => world.api('GET', `/v1/grants?task=${task}`, { bearer });
  expect((await grantsOf(mine.body.id)).body.items).toHaveLength(2);
  expect((await grantsOf(sibling.body.id)).body.reason).toBe('task_unknown');
  for (const route of ['', '/heartbeat', '/end', '/suspend', '/resume']) {
    const method = route === '' ? 'GET' : 'POST';
    const { status, body } = await world.api(method, `/v1/tasks/${sibling.body.id}${route}`, { bearer });
    expect([route, status, body.reason]).toEqual([route, 404, 'task_unknown']);
  }
  const seen = await world.api('GET', '/v1/issuances', { bearer });
  expect(seen.body.items).toEqual([]);
  const opened = await open(bearer);
  expect([opened.status, opened.body.reason]).toEqual([403, 'child_not_allowed']);
});

test('roles with a scope see and change only what the scope names', async () => {
  const bearer = await world.person();
  const yaml = `apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: scoped }
spec: { roles: [auditor, operator], subjects: [{ issuer: people, match: { groups: scoped } }], scope: { templates: ["other-*"] } }
---
apiVersion: mayfly/v1
kind: RoleBinding
metadata: { name: aws-only }
spec: { roles: [auditor], subjects: [{ issuer: people, match: { groups: clouds } }], scope: { providers: ["local-aws"] } }
`;
  expect((await world.api('POST', '/v1/apply?set=scopes', { bearer, yaml })).status).toBe(200);
  const { body } = await world.exchange(form(await world.workload(), opening('scoped')));
  await world.exchange(
    form(await world.workload(), {
      ...opening('scoped-2'),
      tool: 'report.post',
      identifier: 'https://reports.example/2026q3',
    }),
  );
  const as = (groups: string[]) => world.person(groups);
  const issuances = async (groups: string[]) =>
    (await world.api('GET', '/v1/issuances', { bearer: await as(groups) })).body.items;
  expect(await issuances(['scoped'])).toEqual([]);
  const clouds = await issuances(['clouds']);
  expect(new Set(clouds.map(({ provider }: { provider: string }) => provider))).toEqual(
    new Set(['local-aws']),
  );
  // Both roles together see what either sees.
  expect(await issuances(['scoped', 'clouds'])).toHaveLength(clouds.length);
  const scoped = await as(['scoped']);
  const { task } = body.issuance;
  expect((await world.api('GET', `/v1/tasks/${task}`, { bearer: scoped })).body.reason).toBe('task_unknown');
  expect((await world.api('GET', '/v1/tasks', { bearer: scoped })).body.items).toEqual([]);
  expect((await world.api('POST', `/v1/tasks/${task}/end`, { bearer: scoped })).body.reason).toBe(
    'task_unknown',
  );
  for (const [method, path] of [
    ['POST', '/v1/freeze'],
    ['GET', '/v1/audit/events'],
  ] as const) {
    const json = method === 'POST' ? { json: { reason: 'x' } } : {};
    const answer = await world.api(method, path, { bearer: scoped, ...json });
    expect([path, answer.body.reason]).toEqual([path, 'role_required']);
  }
});

test('an auditor reads a task that he lists, and may not end it', async () => {
  const opened = await open(await world.workload());
  const bearer = await world.person(['audit']);
  const path = `/v1/tasks/${opened.body.id}`;
  expect((await world.api('GET', path, { bearer })).body.id).toBe(opened.body.id);
  const end = await world.api('POST', `${path}/end`, { bearer });
  expect([end.status, end.body.reason]).toEqual([403, 'role_required']);
});

test('a task opened for a workload by another belongs to the workload, and only a named opener may', async () => {
  const yaml = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: opened-for, owner: t }
spec:
  workloads: [{ issuer: local, match: { sub: "batch/*" } }]
  openers: [{ issuer: local, match: { sub: "reconciler" } }]
  grants:
    - { name: g, tool: t, resource: "https://reports.example/x", mint: { provider: token, server: reports }, actions: [read], effects: [read] }
`;
  await world.api('POST', '/v1/apply?set=opened-for', { bearer: await world.person(), yaml });
  const body = { template: 'opened-for', for: { issuer: 'local', subject: 'batch/1' } };
  const json = async (bearer: string, more = {}) =>
    world.api('POST', '/v1/tasks', { bearer, json: { ...body, ...more } });
  const opened = await json(await world.workload());
  expect([opened.status, opened.body.taskToken]).toEqual([201, undefined]);
  const wrong = await json(await world.workload('batch/2'));
  expect([wrong.status, wrong.body.reason]).toEqual([403, 'opener_not_allowed']);
  const self = await world.api('POST', '/v1/tasks', {
    bearer: await world.workload('batch/1'),
    json: { template: 'opened-for' },
  });
  expect(self.body.reason).toBe('opener_not_allowed');
  const detail = { tool: 't', identifier: 'https://reports.example/x', task: opened.body.id };
  expect((await world.exchange(form(await world.workload('batch/1'), detail))).status).toBe(200);
  expect((await world.exchange(form(await world.workload(), detail))).body.reason).toBe('task_unknown');
  const show = async () =>
    (await world.api('GET', `/v1/tasks/${opened.body.id}`, { bearer: await world.workload() })).status;
  expect(await show()).toBe(200);
  // The opener was of another issuer that had this name then.
  await world.sql(`update task set opener = jsonb_set(opener, '{issuer}', '"https://old.example"')
    where template = 'opened-for'`);
  expect(await show()).toBe(404);
});

test('a writer in the database alone cannot widen a grant, a parameter or a document', async () => {
  const { body } = await open(await world.workload(), { ref: 'tampered' });
  const ask = async (identifier: string) => {
    // Facts of tasks stay in memory; a fresh broker would read the rows, so let this one forget them.
    await world.api('POST', `/v1/tasks/${body.id}/suspend`, { bearer: await world.person(), json: {} });
    await world.api('POST', `/v1/tasks/${body.id}/resume`, { bearer: await world.person(), json: {} });
    return world.exchange(form(await world.workload(), { task: body.id, identifier }));
  };
  const neighbour = 'arn:aws:s3:::invoices/2026q4/a.pdf';
  await world.sql(`update task_grant set resource = 'arn:aws:s3:::invoices/**' where name = 'read-invoices'`);
  const widened = await ask(neighbour);
  expect([widened.status, widened.body.error, widened.body.reason]).toEqual([
    500,
    'server_error',
    'grant_not_authentic',
  ]);
  await world.sql(
    `update task_grant set resource = 'arn:aws:s3:::invoices/2026q3/**', actions = '{read,delete}' where name = 'read-invoices'`,
  );
  expect((await ask('arn:aws:s3:::invoices/2026q3/a.pdf')).body.reason).toBe('grant_not_authentic');
  await world.sql(`update task_grant set actions = '{read}' where name = 'read-invoices'`);
  await world.sql(`update task set params = '{"quarter":"../x"}' where ref = 'tampered'`);
  expect((await ask('arn:aws:s3:::invoices/2026q3/a.pdf')).body.reason).toBe('grant_not_authentic');
  await world.sql(`update task set params = '{"quarter":"2026q3"}' where ref = 'tampered'`);
  expect((await ask('arn:aws:s3:::invoices/2026q3/a.pdf')).status).toBe(200);
});

test('exports stream every row that fits, as CSV and as one JSON object a line', async () => {
  const bearer = await world.person();
  const all = await count("mayfly_issuances_v1 where kind = 'agent'");
  const csv = await world.api('GET', '/v1/issuances', { bearer, headers: { accept: 'text/csv' } });
  expect(csv.headers.get('content-type')).toBe('text/csv');
  expect(csv.body.trimEnd().split('\r\n')).toHaveLength(all + 1);
  const lines = await world.api('GET', '/v1/issuances', {
    bearer,
    headers: { accept: 'application/x-ndjson' },
  });
  const rows = String(lines.body).trimEnd().split('\n');
  expect(rows.map((row) => JSON.parse(row).id)).toHaveLength(all);
  const page = await world.api('GET', '/v1/issuances?limit=1', { bearer });
  expect([page.body.items.length, typeof page.body.nextCursor]).toEqual([1, 'string']);
  for (const query of ['limit=0', 'limit=1e3', 'cursor=x', 'from=yesterday', 'task=nonsense'])
    expect((await world.api('GET', `/v1/issuances?${query}`, { bearer })).body.reason).toBe(
      'malformed_request',
    );
  expect((await world.api('GET', '/v1/issuances?actor=local/x', { bearer })).body.items).toEqual([]);
});

test('one spelling of a path, plain text in a query, and only parameters that the route knows', async () => {
  const bearer = await world.person();
  for (const path of ['/Token', '/token/', '/V1/tasks', '/v1/tasks/'])
    expect([path, (await world.api('POST', path, { bearer })).status]).toEqual([path, 404]);
  const undecodable = await world.api('GET', '/v1/tasks/%E0%A4%A', { bearer });
  expect([undecodable.status, undecodable.body.reason]).toEqual([404, 'not_found']);
  for (const query of ['tool=%00', 'nonsense=1', 'limit=1&limit=2']) {
    const { status, body } = await world.api('GET', `/v1/issuances?${query}`, { bearer });
    expect([query, status, body.reason]).toEqual([query, 400, 'malformed_request']);
  }
  for (const query of ['set=a&endOutstanding=true', 'set=a&dryRun=true', 'set=a&prune=1', 'set=a&set=b']) {
    const { status, body } = await world.api('POST', `/v1/apply?${query}`, { bearer, yaml: '' });
    expect([query, status, body.reason]).toEqual([query, 400, 'malformed_request']);
  }
});

test('a form of thousands of names is refused in one look', async () => {
  const names = Array.from({ length: 6_000 }, (_, index) => `p${index}=1`).join('&');
  const { status, body } = await world.exchange(names);
  expect([status, body.reason]).toEqual([400, 'malformed_request']);
});

test('a task token lists its own task only', async () => {
  const one = await open(await world.workload(), { ref: 'listed-1' });
  await open(await world.workload(), { ref: 'listed-2' });
  const { body } = await world.api('GET', '/v1/tasks', { bearer: one.body.taskToken });
  expect(body.items.map(({ id }: { id: string }) => id)).toEqual([one.body.id]);
});

test('claims that a template binds make two of one subject strangers, on every route', async () => {
  const yaml = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: bound, owner: t }
spec:
  workloads: [{ issuer: local, match: { sub: "batch/*" }, bind: [groups] }]
  grants:
    - { name: g, tool: t, resource: "https://reports.example/x", mint: { provider: token, server: reports }, actions: [read], effects: [read] }
`;
  await world.api('POST', '/v1/apply?set=bound', { bearer: await world.person(), yaml });
  const pod = (name: string) => world.workload('batch/b', { groups: name });
  const key = { 'idempotency-key': 'bound' };
  const json = { template: 'bound' };
  const opened = await world.api('POST', '/v1/tasks', { bearer: await pod('one'), json, headers: key });
  const detail = { tool: 't', identifier: 'https://reports.example/x', task: opened.body.id };
  const issued = await world.exchange(form(await pod('one'), detail));
  expect(issued.status).toBe(200);
  const stranger = () => pod('two');
  expect((await world.exchange(form(await stranger(), detail))).body.reason).toBe('task_unknown');
  const own = await world.api('POST', '/v1/tasks', { bearer: await stranger(), json, headers: key });
  expect(own.body.id).not.toBe(opened.body.id);
  const listed = await world.api('GET', '/v1/tasks', { bearer: await stranger() });
  expect(listed.body.items.map(({ id }: { id: string }) => id)).toEqual([own.body.id]);
  const { id } = issued.body.issuance;
  for (const path of [`/v1/issuances/${id}`, `/v1/issuances/${id}/explanation`])
    expect((await world.api('GET', path, { bearer: await stranger() })).status).toBe(404);
  const rows = await world.api('GET', '/v1/issuances?decision=allow', { bearer: await stranger() });
  expect(rows.body.items).toEqual([]);
  expect((await world.api('GET', `/v1/issuances/${id}`, { bearer: await pod('one') })).status).toBe(200);
});

test('narrowed parameters, server and budget reach a task that is open', async () => {
  const bearer = await world.person();
  const apply = async (values: string, budget: number) => {
    const yaml = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: narrowed, owner: t }
spec:
  workloads: [{ issuer: local, match: { sub: "reconciler" } }]
  params: { q: { enum: [${values}], example: a } }
  grants:
    - { name: g, tool: t, resource: "https://reports.example/\${params.q}", mint: { provider: token, server: reports }, actions: [read], effects: [read], budget: { exchanges: ${budget} } }
`;
    expect((await world.api('POST', '/v1/apply?set=narrowed', { bearer, yaml })).status).toBe(200);
  };
  const opened = await (async () => {
    await apply('a, b', 100);
    const json = { template: 'narrowed', params: { q: 'b' } };
    return world.api('POST', '/v1/tasks', { bearer: await world.workload(), json });
  })();
  const ask = async () =>
    world.exchange(
      form(await world.workload(), {
        tool: 't',
        identifier: 'https://reports.example/b',
        task: opened.body.id,
      }),
    );
  expect((await ask()).status).toBe(200);
  await apply('a, b', 1);
  expect((await ask()).body.reason).toBe('budget_spent');
  await apply('a', 100);
  expect((await ask()).body.reason).toBe('params_invalid');
  await apply('a, b', 100);
  expect((await ask()).status).toBe(200);
});
