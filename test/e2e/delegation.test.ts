import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { accessTokenType, form, jwtType, opening, startWorld, type World } from './world.ts';

let world: World;
const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };

/** `report-for`: people's reports, posted by an agent; the tool server may go on from there with a child task. */
const documents = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: report-for, owner: team-finance }
spec:
  workloads:
    - { issuer: people, match: { groups: finance } }
    - { issuer: local, match: { sub: reconciler } }
  params: { quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }
  task: { maxDuration: 30m, lease: 5m, children: { max: 2, depth: 2, templates: [report-for] } }
  delegation:
    actor: optional
    actors: [{ issuer: local, match: { sub: ["batch/*", "tools/reports"] } }]
  grants:
    - name: post-report
      tool: report.post
      resource: "https://reports.example/\${params.quarter}"
      mint: { provider: token, server: reports }
      actions: [write]
      effects: [write]
      ttl: { default: 30s, max: 60s }
    - name: read-invoices
      tool: s3.read
      resource: "arn:aws:s3:::invoices/\${params.quarter}/**"
      mint: { provider: local-aws, access: s3.object }
      actions: [read]
      effects: [read]
      ttl: { default: 60s, max: 60s }
`;

beforeAll(async () => {
  world = await startWorld();
  const bearer = await world.person();
  const applied = await world.api('POST', '/v1/apply?set=delegation', { bearer, yaml: documents });
  expect(applied.body).toMatchObject({ changes: [{ action: 'create' }] });
}, 60_000);

afterAll(() => world.stop());

const actedBy = async (subject: string, kind: string = jwtType) => ({
  actor_token: await world.workload(subject),
  actor_token_type: kind,
});
const forTemplate = (ref: string, template = 'report-for') => ({
  task: { template, ref, params: { quarter: '2026q3' } },
});
const alice = () => world.person(['finance']);

describe('an agent that acts for a person', () => {
  test('gets a token that says both, and the log says on whose behalf', async () => {
    const { status, body } = await world.exchange(
      form(await alice(), { ...report, ...forTemplate('for-alice') }, await actedBy('batch/one')),
    );
    expect(status).toBe(200);
    expect(decodeJwt(body.access_token)).toMatchObject({
      sub: 'people/jane@corp.example',
      client_id: 'local/batch/one',
      act: { iss: world.file.workloads, sub: 'batch/one' },
    });
    const issuance = (
      await world.sql(
        `select workload_issuer, workload_subject, actor_issuer, actor_subject from mayfly_issuances_v1
         where task_id = (select id from task where ref = 'for-alice')`,
      )
    )[0];
    expect(issuance).toEqual({
      workload_issuer: 'people',
      workload_subject: 'jane@corp.example',
      actor_issuer: 'local',
      actor_subject: 'batch/one',
    });
    const bearer = await world.person();
    const mine = await world.api('GET', '/v1/issuances?actor=local/batch/one', { bearer });
    expect(mine.body.items).toMatchObject([
      { workload: 'people/jane@corp.example', actor: 'local/batch/one' },
    ]);
    const task = await world.api('GET', `/v1/tasks/${body.issuance.task}`, { bearer });
    expect(task.body).toMatchObject({ workload: 'people/jane@corp.example', actors: ['local/batch/one'] });
  });

  test.each<readonly [string, () => Promise<Record<string, string>>, string, string]>([
    ['whom no rule names', () => actedBy('reconciler'), 'invalid_request', 'delegation_not_granted'],
    [
      'whose type is missing',
      async () => ({ actor_token: await world.workload('batch/x') }),
      'invalid_request',
      'malformed_request',
    ],
    [
      'without its token',
      async () => ({ actor_token_type: jwtType }),
      'invalid_request',
      'malformed_request',
    ],
    [
      'by a token of ours',
      () => actedBy('batch/x', accessTokenType),
      'invalid_request',
      'unsupported_token_type',
    ],
    [
      'by garbage',
      async () => ({ actor_token: 'x.y.z', actor_token_type: jwtType }),
      'invalid_request',
      'assertion_invalid',
    ],
  ])('is refused %s, and no task is opened', async (_, actor, error, reason) => {
    const ref = randomUUID();
    const answer = await world.exchange(
      form(await alice(), { ...report, ...forTemplate(ref) }, await actor()),
    );
    expect([answer.status, answer.body.error, answer.body.reason]).toEqual([400, error, reason]);
    expect(await world.sql('select 1 from task where ref = $1', [ref])).toEqual([]);
  });

  test('is refused under a template without a rule: never silent impersonation', async () => {
    const answer = await world.exchange(
      form(await world.workload(), { ...report, ...opening(randomUUID()) }, await actedBy('batch/one')),
    );
    expect(answer.body.reason).toBe('delegation_not_granted');
  });
});

describe('a sub-agent', () => {
  async function parent() {
    const { body } = await world.exchange(
      form(await world.workload(), { ...report, ...forTemplate(randomUUID()) }),
    );
    return { id: body.issuance.task as string, token: body.task_token as string };
  }

  test('exchanges the task token of its parent for a child task, with its own identity as actor', async () => {
    const { id, token } = await parent();
    const types = { subject_token_type: accessTokenType };
    const child = await world.exchange(
      form(token, { ...report, ...forTemplate('child') }, { ...types, ...(await actedBy('batch/two')) }),
    );
    expect(child.status).toBe(200);
    expect(decodeJwt(child.body.access_token)).toMatchObject({
      sub: 'local/reconciler',
      act: { sub: 'batch/two' },
    });
    const view = await world.api('GET', `/v1/tasks/${child.body.issuance.task}`, {
      bearer: child.body.task_token,
    });
    expect(view.body).toMatchObject({ parent: id, actors: ['local/batch/two'], state: 'open' });
    // One level further down: the chain grows, the present actor outermost.
    const grandchild = await world.exchange(
      form(
        child.body.task_token,
        { ...report, ...forTemplate('grandchild') },
        { ...types, ...(await actedBy('batch/three')) },
      ),
    );
    expect(decodeJwt(grandchild.body.access_token)['act']).toMatchObject({
      sub: 'batch/three',
      act: { sub: 'batch/two' },
    });
    // The parent ends: so do they, in one commit.
    await world.api('POST', `/v1/tasks/${id}/end`, { bearer: token });
    const bearer = await world.person();
    for (const one of [child, grandchild]) {
      const ended = await world.api('GET', `/v1/tasks/${one.body.issuance.task}`, { bearer });
      expect(ended.body).toMatchObject({ state: 'cancelled', stateReason: 'parent task ended' });
      const refused = await world.exchange(form(one.body.task_token, report, types));
      expect(refused.body.reason).toBe('task_ended');
    }
  });

  test('opens one at /v1 with the task token of its parent, who may end it', async () => {
    const { id, token } = await parent();
    const json = { template: 'report-for', params: { quarter: '2026q3' } };
    const opened = await world.api('POST', '/v1/tasks', { bearer: token, json });
    expect(opened.status).toBe(201);
    const ended = await world.api('POST', `/v1/tasks/${opened.body.id}/end`, { bearer: token });
    expect(ended.body.state).toBe('completed');
    const own = await world.api('POST', '/v1/tasks', {
      bearer: await world.workload(),
      json: { ...json, parent: id },
    });
    expect(own.status).toBe(201);
    const foreign = await world.api('POST', '/v1/tasks', {
      bearer: await world.workload('batch/other'),
      json: { ...json, parent: id },
    });
    expect([foreign.status, foreign.body.reason]).toEqual([404, 'task_unknown']);
    const third = await world.api('POST', '/v1/tasks', { bearer: token, json });
    expect(third.body.reason).toBe('child_not_allowed');
  });
});

describe('a tool', () => {
  async function shown() {
    const { body } = await world.exchange(
      form(await world.workload(), { ...report, ...forTemplate(randomUUID()) }),
    );
    return { task: body.issuance.task as string, token: body.access_token as string };
  }
  const types = { subject_token_type: accessTokenType };

  test('cannot exchange the token that it was shown', async () => {
    const { task, token } = await shown();
    for (const detail of [{ task }, forTemplate('by-tool')]) {
      const answer = await world.exchange(form(token, { ...report, ...detail }, types));
      expect([answer.status, answer.body.reason]).toEqual([400, 'assertion_invalid']);
    }
  });

  test('may go on as its actor, beneath the task of the token alone', async () => {
    const { task, token } = await shown();
    const child = await world.exchange(
      form(
        token,
        { ...report, ...forTemplate('by-tool') },
        { ...types, ...(await actedBy('tools/reports')) },
      ),
    );
    expect(child.status).toBe(200);
    expect(decodeJwt(child.body.access_token)).toMatchObject({
      sub: 'local/reconciler',
      act: { sub: 'tools/reports' },
      client_id: 'local/tools/reports',
    });
    const own = await world.exchange(
      form(token, { ...report, task }, { ...types, ...(await actedBy('tools/reports')) }),
    );
    expect(own.body.reason).toBe('task_unknown');
  });

  test('is refused as actor for a token that another audience was shown', async () => {
    const { token } = await shown();
    const answer = await world.exchange(
      form(token, { ...report, ...forTemplate('by-other') }, { ...types, ...(await actedBy('batch/one')) }),
    );
    expect(answer.body.reason).toBe('delegation_not_granted');
  });

  test('gets nothing more once the task of the token has ended', async () => {
    const { task, token } = await shown();
    await world.api('POST', `/v1/tasks/${task}/end`, { bearer: await world.workload(), json: {} });
    const answer = await world.exchange(
      form(token, { ...report, ...forTemplate('late') }, { ...types, ...(await actedBy('tools/reports')) }),
    );
    expect(answer.body.reason).toBe('assertion_invalid');
  });
});
