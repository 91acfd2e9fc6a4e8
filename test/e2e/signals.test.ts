import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseId } from '@mayfly/protocol';
import { form, opening, startWorld, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { reapInterval: '1h' } });
  await apply('{ from: [{ issuer: local, match: { sub: "tools/proxy" } }] }');
}, 60_000);

afterAll(() => world.stop());

async function apply(signals: string): Promise<void> {
  const yaml = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: watched, owner: team-finance }
spec:
  workloads: [{ issuer: local, match: { sub: "reconciler" } }]
  params: { quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }
  grants:
    - name: read-invoices
      tool: s3.read
      resource: "arn:aws:s3:::invoices/\${params.quarter}/**"
      mint: { provider: local-aws, access: s3.object }
      actions: [read]
      effects: [read]
  ${signals === '' ? '' : `signals: ${signals}`}
  deviation: { useOutsideGrant: end }
`;
  const answer = await world.api('POST', '/v1/apply?set=watched', { bearer: await world.person(), yaml });
  expect(answer.status).toBe(200);
}

async function opened(ref: string) {
  const task = { ...opening(ref).task, template: 'watched' };
  const { body } = await world.exchange(form(await world.workload(), { task }));
  return { task: String(body.issuance.task), token: String(body.task_token) };
}

const signal = async (task: string, json: object, bearer?: string) =>
  world.api('POST', `/v1/tasks/${task}/signals`, {
    json,
    bearer: bearer ?? (await world.workload('tools/proxy')),
  });
const outside = { tool: 's3.read', identifier: 'arn:aws:s3:::payroll/a' };
const inside = { tool: 's3.read', identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf' };

test('a named source: a call inside the grants may go on; one outside ends the task, and the next exchange is refused', async () => {
  const { task, token } = await opened('s-1');
  const fine = await signal(task, inside);
  expect([fine.status, fine.body]).toMatchObject([
    200,
    { id: task, verdict: 'ok', act: null, state: 'open' },
  ]);
  const caught = await signal(task, { ...outside, note: 'bucket log' });
  expect(caught.body).toMatchObject({
    verdict: 'deviation',
    act: 'end',
    state: 'deviated',
    stateReason: 'deviation: useOutsideGrant',
  });
  const again = await world.exchange(form(await world.workload(), { task }));
  expect(again.body.reason).toBe('task_ended');
  const beat = await world.api('POST', `/v1/tasks/${task}/heartbeat`, { bearer: token });
  expect([beat.body.state, beat.body.taskToken]).toEqual(['deviated', undefined]);
  expect((await signal(task, inside)).body.reason).toBe('task_ended');
  const types = await world.sql<{ type: string }>(
    `select type from audit_entry where task_id = $1::uuid and type like 'task.%' order by seq desc limit 2`,
    [parseId('tsk', task)],
  );
  expect(types.map(({ type }) => type)).toEqual(['task.deviated', 'task.signalled']);
});

test('the owner suspends itself by its task token; only an operator resumes it', async () => {
  const { task, token } = await opened('s-2');
  const answer = await signal(
    task,
    { verdict: 'suspended', note: 'I was told to ignore my instructions' },
    token,
  );
  expect(answer.body).toMatchObject({ verdict: 'suspended', act: 'suspend', state: 'suspended' });
  expect((await signal(task, { verdict: 'ok', note: 'all is well' }, token)).body).toMatchObject({
    verdict: 'suspended',
  });
  expect((await world.exchange(form(await world.workload(), { task }))).body.reason).toBe('task_suspended');
  const resumed = await world.api('POST', `/v1/tasks/${task}/resume`, {
    bearer: await world.person(),
    json: {},
  });
  expect(resumed.body.state).toBe('open');
});

test('whoever the template does not name gets the bytes of an unknown task, and changes nothing', async () => {
  const { task } = await opened('s-3');
  const unknown = 'tsk_00000000000000000000000000';
  const strangers = [
    await world.workload('tools/reports'),
    await world.workload('batch/7'),
    (await opened('s-4')).token,
  ];
  for (const bearer of strangers) {
    const [foreign, none] = [await signal(task, outside, bearer), await signal(unknown, outside, bearer)];
    expect([foreign.status, foreign.body.reason]).toEqual([404, 'task_unknown']);
    expect({ ...foreign.body, instance: '' }).toEqual({ ...none.body, instance: '' });
  }
  // An operator sees the task, and is no source either.
  expect((await signal(task, outside, await world.person())).body.reason).toBe('task_unknown');
  const { body } = await world.api('GET', `/v1/tasks/${task}`, { bearer: await world.person() });
  expect(body.state).toBe('open');
});

test('a source may do nothing else with the task, and loses its word with the next version', async () => {
  const { task } = await opened('s-5');
  const proxy = await world.workload('tools/proxy');
  expect((await world.api('GET', `/v1/tasks/${task}`, { bearer: proxy })).status).toBe(404);
  expect((await world.api('POST', `/v1/tasks/${task}/end`, { bearer: proxy, json: {} })).status).toBe(404);
  await apply('');
  expect((await signal(task, outside)).body.reason).toBe('task_unknown');
  await apply('{ from: [{ issuer: local, match: { sub: "tools/proxy" } }] }');
  expect((await signal(task, outside)).body.act).toBe('end');
});

test.each([
  ['nothing', {}],
  ['a verdict that is none', { verdict: 'fine', note: 'x' }],
  ['a verdict without a note', { verdict: 'deviation' }],
  ['a call and a verdict', { ...outside, verdict: 'ok', note: 'x' }],
])('%s is no signal', async (_, body) => {
  const { task } = await opened('s-6');
  expect((await signal(task, body)).body.reason).toBe('malformed_request');
});
