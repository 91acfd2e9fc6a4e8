import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reaperPass } from '@mayfly/broker';
import { s3Status } from './s3.ts';
import { form, opening, startWorld, until, type World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await startWorld({ settings: { reapInterval: '1h' } });
}, 60_000);

afterAll(() => world.stop());

async function apply(name: string, onChange: string, description: string): Promise<void> {
  const yaml = `apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: ${name}, owner: team-finance }
spec:
  description: ${description}
  workloads: [{ issuer: local, match: { sub: "reconciler" } }]
  params: { quarter: { pattern: "20[0-9]{2}q[1-4]", example: 2026q3 } }
  onChange: ${onChange}
  grants:
    - name: read-invoices
      tool: s3.read
      resource: "arn:aws:s3:::invoices/\${params.quarter}/**"
      mint: { provider: local-aws, access: s3.object }
      actions: [read]
      effects: [read]
`;
  const answer = await world.api('POST', `/v1/apply?set=${name}`, { bearer: await world.person(), yaml });
  expect(answer.status).toBe(200);
}

const ask = async (name: string) =>
  (await world.exchange(form(await world.workload(), { task: { ...opening('one').task, template: name } })))
    .body;
const view = async (task: string) =>
  (await world.api('GET', `/v1/tasks/${task}`, { bearer: await world.person() })).body;

test('end: a new version ends the open tasks of the old one, and takes back what is out; keep: it ends none', async () => {
  await apply('ends', 'end', 'one');
  await apply('keeps', 'keep', 'one');
  const [ends, keeps] = [await ask('ends'), await ask('keeps')];
  await apply('ends', 'end', 'two');
  await apply('keeps', 'keep', 'two');
  // The apply has woken the broker's own loop; the pass here is for what it may have left to others.
  const ended = await until(
    async () => {
      await reaperPass(world.running.broker);
      return view(ends.issuance.task);
    },
    ({ state }) => state !== 'open',
  );
  expect(ended).toMatchObject({ state: 'cancelled', stateReason: 'changed: template_version' });
  const status = await until(
    async () => {
      await reaperPass(world.running.broker);
      return s3Status(world, ends.access_token, '2026q3/a.pdf');
    },
    (code) => code !== 200,
  );
  expect(status).toBe(403);
  expect((await ask('ends')).reason).toBe('task_ended');
  expect((await view(keeps.issuance.task)).state).toBe('open');
  expect((await ask('keeps')).issuance.task).toBe(keeps.issuance.task);
}, 30_000);
