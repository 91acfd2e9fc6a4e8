import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Mayfly } from '@mayfly/sdk';
import { type GithubStandin, startGithub } from '@mayfly/standins';
import { Octokit } from '@octokit/core';
import { tryGithub } from '../../scripts/live/github.ts';
import { startReplica } from './replica.ts';
import { accessTokenType, form, startWorld, type World } from './world.ts';

const example = readFileSync(
  fileURLToPath(new URL('../../examples/clouds/github.yaml', import.meta.url)),
  'utf8',
);
const folder = mkdtempSync(join(tmpdir(), 'mayfly-github-'));
const keyFile = join(folder, 'app.pem');
let offsetMs = 0;
let privateKey: string;
let world: World;
let github: GithubStandin;

/** An organization with an App on three repositories, and the example as it stands but for the address. */
beforeAll(async () => {
  github = await startGithub({ now: () => new Date(Date.now() + offsetMs) });
  privateKey = github.createInstallation({
    ...{ appId: '123456', installationId: '7890', owner: 'acme' },
    repositories: ['webshop', 'billing', 'docs'],
    permissions: { contents: 'write', pull_requests: 'write', issues: 'write' },
  });
  writeFileSync(keyFile, privateKey, { mode: 0o600 });
  world = await startWorld({ settings: { providerKeys: { 'acme-github': { file: keyFile } } } });
  const yaml = example.replace('http://127.0.0.1:4570', github.url);
  const applied = await world.api('POST', '/v1/apply?set=github', { bearer: await world.person(), yaml });
  if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
}, 60_000);
afterAll(async () => {
  await world.stop();
  await github.close();
  rmSync(folder, { recursive: true });
});

const opening = (ref: string) => ({
  task: { template: 'review-repository', ref, params: { repository: 'webshop' }, objective: 'test' },
});
const detail = { tool: 'git.read', identifier: 'https://github.com/acme/webshop' };

async function exchange(ref: string, tool = detail.tool) {
  return world.exchange(form(await world.workload('batch/review'), { ...detail, tool, ...opening(ref) }));
}
async function issue(ref: string, tool = detail.tool) {
  const { status, body } = await exchange(ref, tool);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body;
}

/** GitHub's own client, unmodified. */
function client(token: string): Octokit {
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  return new Octokit({ auth: token, baseUrl: github.url, log });
}
const said = (run: Promise<{ status: number }>) =>
  run.then(
    ({ status }) => status,
    (error: unknown) => Number(Reflect.get(Object(error), 'status')),
  );
const place = (repo: string) => ({ owner: 'acme', repo, path: 'README.md' });
const read = (octokit: Octokit, repo = 'webshop') =>
  said(octokit.request('GET /repos/{owner}/{repo}/contents/{path}', place(repo)));
const write = (octokit: Octokit, repo = 'webshop') =>
  said(
    octokit.request('PUT /repos/{owner}/{repo}/contents/{path}', {
      ...place(repo),
      ...{ message: 'x', content: 'eA==' },
    }),
  );

test('one repository is read; its neighbour is not there, and nothing is written', async () => {
  const body = await issue('rights');
  expect(body).toMatchObject({ issued_token_type: accessTokenType, token_type: 'Bearer' });
  const { ends, enforcement } = body.issuance;
  expect(enforcement).toEqual({ resource: 'provider', actions: 'provider', ttl: 'provider' });
  // No promise before its hour: only the token can end itself.
  expect(ends.by).toBe('deleted');
  expect(ends.worst_case_seconds).toBeGreaterThan(3_500);
  const octokit = client(body.access_token);
  expect([await read(octokit), await read(octokit, 'billing'), await write(octokit)]).toEqual([
    200, 404, 403,
  ]);
});

const of = (repo: string) => ({ owner: 'acme', repo });
const pulls = (octokit: Octokit, repo = 'webshop') =>
  said(octokit.request('GET /repos/{owner}/{repo}/pulls', of(repo)));
const propose = (octokit: Octokit, repo = 'webshop') =>
  said(
    octokit.request('POST /repos/{owner}/{repo}/pulls', { ...of(repo), title: 'x', head: 'a', base: 'main' }),
  );
const issues = (octokit: Octokit, repo = 'webshop') =>
  said(octokit.request('GET /repos/{owner}/{repo}/issues', of(repo)));
const report = (octokit: Octokit, repo = 'webshop') =>
  said(octokit.request('POST /repos/{owner}/{repo}/issues', { ...of(repo), title: 'x' }));

test('pull requests are read and opened, of this repository alone, without its contents or issues', async () => {
  const octokit = client((await issue('rights', 'git.propose')).access_token);
  expect([await pulls(octokit), await propose(octokit)]).toEqual([200, 201]);
  expect([await pulls(octokit, 'billing'), await propose(octokit, 'billing')]).toEqual([404, 404]);
  expect([await read(octokit), await write(octokit), await issues(octokit)]).toEqual([403, 403, 403]);
});

test('issues are read, of this repository alone, and none is opened', async () => {
  const octokit = client((await issue('rights', 'issues.read')).access_token);
  expect([await issues(octokit), await issues(octokit, 'billing')]).toEqual([200, 404]);
  expect([await report(octokit), await read(octokit), await pulls(octokit)]).toEqual([403, 403, 403]);
});

test('what the grant does not name is refused before GitHub is asked', async () => {
  const body = await issue('beyond');
  const before = github.ledger().length;
  for (const more of [
    { identifier: 'https://github.com/acme/billing' },
    { identifier: 'https://github.com/other/webshop' },
    { identifier: 'https://github.com/acme/webshop/settings' },
    { actions: ['write'] },
  ]) {
    const again = form(body.task_token, { ...detail, ...more }, { subject_token_type: accessTokenType });
    expect(await world.exchange(again)).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
  }
  expect(github.ledger()).toHaveLength(before);
});

test('the sdk gives an agent the token as any other bearer token', async () => {
  const mayfly = new Mayfly({ server: world.url, env: {}, assertion: () => world.workload('batch/review') });
  const asked = { template: 'review-repository', ref: 'sdk', params: { repository: 'webshop' } };
  await mayfly.run({ ...asked, objective: 'test' }, async (task) => {
    const headers = await task.headers('git.read', detail.identifier);
    const answer = await fetch(`${github.url}/repos/acme/webshop/contents/README.md`, { headers });
    expect(answer.status).toBe(200);
    const wrong = { reason: 'wrong_credential_kind', message: expect.stringContaining('task.token') };
    await expect(task.kubernetes('git.read', detail.identifier)).rejects.toMatchObject(wrong);
  });
});

test('the script for the real GitHub holds on the stand-in, and says what does not', async () => {
  const tried = async (neighbour: string) => {
    const said: string[] = [];
    const held = await tryGithub({
      mayfly: new Mayfly({ server: world.url, env: {}, assertion: () => world.workload('batch/review') }),
      ...{ template: 'review-repository', params: { repository: 'webshop' }, tool: 'git.read' },
      ...{ allowed: 'acme/webshop', neighbour, api: github.url },
      say: (line) => void said.push(line.split(' ')[0] ?? ''),
    });
    return [held, said];
  };
  expect(await tried('acme/billing')).toEqual([true, ['held', 'held', 'held', 'held']]);
  expect(await tried('acme/webshop')).toEqual([false, ['held', 'FAILED', 'held', 'held']]);
}, 60_000);

test('a use in the organization’s audit log joins to its issuance', async () => {
  const body = await issue('log');
  await read(client(body.access_token));
  const used = github.ledger().at(-1);
  const [row] = await world.sql(`select resource from mayfly_issuances_v1 where provider_key_hash = $1`, [
    Buffer.from(used?.hashedToken ?? '', 'base64').toString('hex'),
  ]);
  expect(row).toEqual({ resource: detail.identifier });
});

async function shownAsEnded(id: string, withinMs = 15_000) {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const { body } = await world.api('GET', `/v1/issuances/${id}`, { bearer: await world.person() });
    if (body.state === 'ended' || Date.now() > deadline) return body;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test.each([
  ['git.read', read],
  ['git.propose', pulls],
  ['issues.read', issues],
] as const)('the end of a task deletes its unexpired token of %s, and no other', async (tool, use) => {
  const [ended, other] = [await issue(`ended-${tool}`, tool), await issue('other', tool)];
  const [octokit, sibling] = [client(ended.access_token), client(other.access_token)];
  expect([await use(octokit), await use(sibling)]).toEqual([200, 200]);
  const { task, id } = ended.issuance;
  const bearer = ended.task_token;
  await world.api('POST', `/v1/tasks/${task}/end`, { bearer, json: { outcome: 'completed' } });
  expect(await shownAsEnded(id)).toMatchObject({ state: 'ended', endedBy: 'deleted' });
  expect([await use(octokit), await use(sibling)]).toEqual([401, 200]);
});

test('whichever replica is asked, the one that made a token comes to delete it', async () => {
  const replica = await startReplica(world, { providerKeys: { 'acme-github': { file: keyFile } } });
  try {
    const subject = await world.workload('batch/review');
    const body = new URLSearchParams(form(subject, { ...detail, ...opening('replica') }));
    const answered: unknown = await (await fetch(`${replica.url}/token`, { method: 'POST', body })).json();
    const { access_token: token, issuance, task_token: bearer } = Object(answered);
    expect(await read(client(token))).toBe(200);
    await world.api('POST', `/v1/tasks/${issuance.task}/end`, { bearer, json: { outcome: 'completed' } });
    expect(await shownAsEnded(issuance.id, 60_000)).toMatchObject({ state: 'ended', endedBy: 'deleted' });
    expect(await read(client(token))).toBe(401);
  } finally {
    await replica.stop();
  }
}, 90_000);

test('without the key of the App nothing is made, and with a new one it goes on at once', async () => {
  writeFileSync(keyFile, 'not a key');
  const { status, body } = await exchange('rotated');
  expect([status, body.error]).toEqual([503, 'temporarily_unavailable']);
  writeFileSync(keyFile, privateKey);
  expect((await exchange('rotated')).status).toBe(200);
});

test('a token ends with its hour', async () => {
  const octokit = client((await issue('expiry')).access_token);
  expect(await read(octokit)).toBe(200);
  offsetMs = 3_601_000;
  expect(await read(octokit)).toBe(401);
  offsetMs = 0;
});

test('neither the key nor a token stands in the database or the log', async () => {
  const { access_token: token } = await issue('secrets');
  const line = privateKey.split('\n')[1] ?? '';
  const hash = createHash('sha256').update(token).digest('hex');
  const log = readFileSync(join(world.dataDir, 'mayfly.log'), 'utf8');
  const tables = await world.sql<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
      where schemaname = 'public' and has_table_privilege(format('%I.%I', schemaname, tablename), 'select')`,
  );
  let joined = 0;
  for (const { name } of tables) {
    const rows = JSON.stringify(await world.sql(`select t::text from ${name} t`));
    for (const secret of [token, line]) expect([name, rows.includes(secret)]).toEqual([name, false]);
    if (rows.includes(hash)) joined += 1;
  }
  expect(joined).toBeGreaterThan(0);
  for (const secret of [token, line]) expect(log.includes(secret)).toBe(false);
});
