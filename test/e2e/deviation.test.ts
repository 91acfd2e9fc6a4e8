import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reaperPass } from '@mayfly/broker';
import { parseId } from '@mayfly/protocol';
import { startReplica } from './replica.ts';
import { s3Status } from './s3.ts';
import { accessTokenType, form, opening, startWorld, until, type World } from './world.ts';

let world: World;
let replica: Awaited<ReturnType<typeof startReplica>>;

beforeAll(async () => {
  const settings = { reapInterval: '1h' };
  world = await startWorld({ settings });
  replica = await startReplica(world, settings);
}, 60_000);

afterAll(async () => {
  await replica.stop();
  await world.stop();
});

/** Each test has a template and so a quarantine of its own. */
async function template(name: string, deviation: string, grant = ''): Promise<void> {
  const yaml = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: ${name}, owner: team-finance }
spec:
  workloads: [{ issuer: local, match: { sub: "reconciler" } }]
  params: { quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }
  task: { maxDuration: 30m, lease: 10m }
  grants:
    - name: read-invoices
      tool: s3.read
      resource: "arn:aws:s3:::invoices/\${params.quarter}/**"
      mint: { provider: local-aws, access: s3.object }
      actions: [read]
      effects: [read]
      ${grant}
  deviation: ${deviation}
`;
  const answer = await world.api('POST', `/v1/apply?set=${name}`, { bearer: await world.person(), yaml });
  expect([answer.status, answer.body]).toMatchObject([200, {}]);
}

const ask = async (name: string, change: Record<string, unknown> = {}, ref = 'one') =>
  world.exchange(form(await world.workload(), { task: { ...opening(ref).task, template: name }, ...change }));
const view = async (task: string) =>
  (await world.api('GET', `/v1/tasks/${task}`, { bearer: await world.person() })).body;

test('five refused requests suspend the task at once on every replica, told in one event with its evidence', async () => {
  await template('five', '{ refused: { after: 5, within: 10m, do: suspend }, quarantine: 15m }');
  const issued = await ask('five');
  const { task } = issued.body.issuance;
  const refused = [];
  for (const change of [
    { tool: 'mail.send' },
    { tool: 's3.write' },
    { identifier: 'arn:aws:s3:::payroll/a' },
    { identifier: 'arn:aws:s3:::invoices/2026q4/a.pdf' },
    { actions: ['delete'] },
  ]) {
    // What comes again at once, is malformed or too long is refused, and not counted.
    await ask('five', { identifier: 'arn:aws:s3:::invoices/2026q3/*' });
    await ask('five', { ttl: 86_400 });
    expect((await view(task)).state).toBe('open');
    refused.push((await ask('five', change)).body);
  }
  expect(refused.map(({ reason }) => reason)).toEqual([
    ...[
      'tool_not_granted',
      'tool_not_granted',
      'resource_outside_grant',
      'resource_outside_grant',
      'action_outside_grant',
    ],
  ]);
  const shown = await view(task);
  expect(shown).toMatchObject({ state: 'suspended', stateReason: 'deviation: refused' });
  expect(Date.parse(shown.quarantinedUntil) - Date.now()).toBeGreaterThan(14 * 60_000);
  for (const url of [replica.url, world.url]) {
    const answer = await fetch(`${url}/token`, {
      method: 'POST',
      body: new URLSearchParams(form(issued.body.task_token, {}, { subject_token_type: accessTokenType })),
    });
    expect(await answer.json()).toMatchObject({ reason: 'task_suspended' });
  }
  const { body } = await world.api('GET', '/v1/audit/events?type=task.deviated', {
    bearer: await world.person(),
  });
  expect(body.items).toHaveLength(1);
  expect(body.items[0]).toMatchObject({ type: 'task.deviated', actor: 'local/reconciler' });
  expect(body.items[0].body.body).toEqual({
    ...{ act: 'suspend', quarantineSeconds: 900, rule: 'refused' },
    evidence: refused.map(({ issuance_id }) => parseId('isn', issuance_id)).sort(),
  });
  // The keys that were out are taken back.
  await reaperPass(world.running.broker);
  // Either replica may have claimed them first, and be at it yet.
  const status = () => s3Status(world, issued.body.access_token, '2026q3/a.pdf');
  expect(await until(status, (seen) => seen === 403)).toBe(403);
}, 30_000);

test('quarantine: nothing opens or mints under the template, resumed or not, and all is as before once it is over', async () => {
  await template('apart', '{ refused: { after: 1, within: 1m, do: suspend }, quarantine: 1h }');
  const { task } = (await ask('apart')).body.issuance;
  const other = (await ask('apart', {}, 'two')).body;
  await ask('apart', { tool: 'mail.send' });
  expect((await view(task)).state).toBe('suspended');
  await world.api('POST', `/v1/tasks/${task}/resume`, { bearer: await world.person(), json: {} });
  const refusals = [await ask('apart'), await ask('apart', {}, 'two'), await ask('apart', {}, 'three')];
  for (const { status, body } of refusals)
    expect([status, body.error, body.reason]).toEqual([400, 'access_denied', 'quarantined']);
  const opened = await world.api('POST', '/v1/tasks', {
    ...{ bearer: await world.workload(), json: { template: 'apart', params: { quarter: '2026q3' } } },
  });
  expect([opened.status, opened.body.reason]).toEqual([409, 'quarantined']);
  const id = refusals[1]?.body.issuance_id;
  const { body } = await world.api('GET', `/v1/issuances/${id}/explanation`, {
    bearer: await world.person(),
  });
  expect(body).toMatchObject({
    decision: 'deny',
    reason: 'quarantined',
    explanation: { reason: 'quarantined' },
  });
  expect((await view(other.issuance.task)).state).toBe('open');
  // Neither another workload nor another template.
  expect((await world.exchange(form(await world.workload(), opening('elsewhere')))).status).toBe(200);
  await world.sql(`update quarantine set until = now() where template = 'apart'`);
  expect((await ask('apart', {}, 'two')).status).toBe(200);
  expect((await view(task)).quarantinedUntil).toBeNull();
}, 30_000);

test.each([
  ['note', 'open'],
  ['suspend', 'suspended'],
  ['end', 'deviated'],
])('a spent budget, %s: the task is %s', async (act, state) => {
  const name = `spent-${act}`;
  await template(name, `{ budgetSpent: ${act} }`, 'budget: { exchanges: 1 }');
  const { task } = (await ask(name)).body.issuance;
  expect((await ask(name)).body.reason).toBe('budget_spent');
  expect(await view(task)).toMatchObject({ state, quarantinedUntil: null });
  const seen = await world.sql(
    `select from audit_entry where type = 'task.deviated' and task_id = $1::uuid`,
    [parseId('tsk', task)],
  );
  expect(seen).toHaveLength(1);
});

test('a template without rules is deviated from for ever without a word', async () => {
  await template('quiet', '{}');
  const { task } = (await ask('quiet')).body.issuance;
  for (const tool of ['a.a', 'b.b', 'c.c', 'd.d', 'e.e', 'f.f']) await ask('quiet', { tool });
  expect((await view(task)).state).toBe('open');
  expect(await world.sql('select from sighting where task_id = $1::uuid', [parseId('tsk', task)])).toEqual(
    [],
  );
});
