import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ProofMaker, proofMaker } from './dpop.ts';
import { accessTokenType, form, jwtType, startWorld, type World } from './world.ts';

let world: World;
let key: ProofMaker;

/** `strict` demands a key, `loose` beneath it does not; `few` may be opened once by each workload, whoever acts for it. */
const template = (name: string, task: string, more: { grants?: string; spec?: string }) => `---
apiVersion: mayfly/v1
kind: GrantTemplate
metadata: { name: ${name}, owner: team-finance }
spec:
  workloads: [{ issuer: local, match: { sub: reconciler } }, { issuer: people, match: { groups: finance } }]
  task: { maxDuration: 30m, lease: 5m${task} }${more.spec ?? ''}
  grants:
    - name: post-report
      tool: report.post
      resource: "https://reports.example/2026q3"
      mint: { provider: token, server: reports }
      actions: [write]
      effects: [write]${more.grants ?? ''}
`;
const beneath = ', children: { max: 9, depth: 2, templates: [loose] }';
const actors = `
  delegation: { actor: optional, actors: [{ issuer: local, match: { sub: "batch/*" } }] }`;
const documents = [
  template('strict', beneath, { grants: '\n      proof: dpop' }),
  template('loose', beneath, {}),
  template('few', ', maxOpen: 1', { spec: actors }),
].join('');

beforeAll(async () => {
  world = await startWorld();
  key = await proofMaker();
  const applied = await world.api('POST', '/v1/apply?set=children', {
    bearer: await world.person(),
    yaml: documents,
  });
  expect(applied.status).toBe(200);
}, 60_000);

afterAll(() => world.stop());

const detail = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };
const types = { subject_token_type: accessTokenType };

async function opened(
  name: string,
  bearer?: string,
  headers: Record<string, string> = {},
): Promise<{ id: string; taskToken: string }> {
  const answer = await world.api('POST', '/v1/tasks', {
    bearer: bearer ?? (await world.workload()),
    json: { template: name },
    headers,
  });
  expect(answer.status).toBe(201);
  return answer.body;
}

test('what a parent may only with a key, its child may not without', async () => {
  const parent = await opened('strict');
  const plain = await world.exchange(form(parent.taskToken, detail, types));
  expect([plain.status, plain.body.reason]).toEqual([400, 'proof_required']);
  const child = await opened('loose', parent.taskToken);
  const grandchild = await opened('loose', child.taskToken);
  for (const { taskToken } of [child, grandchild]) {
    const refused = await world.exchange(form(taskToken, detail, types));
    expect([refused.status, refused.body.reason]).toEqual([400, 'proof_required']);
    const dpop = await key.proof({ url: `${world.url}/token` });
    const bound = await world.exchange(form(taskToken, detail, types), { dpop });
    expect([bound.status, bound.body.token_type]).toEqual([200, 'DPoP']);
  }
  // Without a parent, the same template asks for none.
  const own = await opened('loose');
  expect((await world.exchange(form(own.taskToken, detail, types))).body.token_type).toBe('Bearer');
});

test('a workload has its limits once, not once for each actor', async () => {
  const open = async (actor: string | null) => {
    const by = actor === null ? {} : { actor_token: await world.workload(actor), actor_token_type: jwtType };
    const task = { template: 'few', ref: randomUUID(), params: {} };
    const { status, body } = await world.exchange(
      form(await world.person(['finance']), { ...detail, task }, by),
    );
    return [status, body.reason];
  };
  expect(await open('batch/one')).toEqual([200, undefined]);
  for (const other of ['batch/two', 'batch/three', null])
    expect(await open(other)).toEqual([429, 'too_many_open_tasks']);
});
