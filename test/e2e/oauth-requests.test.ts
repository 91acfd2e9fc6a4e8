import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { accessTokenType, form, startWorld, tokenExchange, type World } from './world.ts';

/** Good requests to the token endpoint, in spellings that clients use. */
let world: World;
let taskToken = '';

beforeAll(async () => {
  world = await startWorld();
  const json = { template: 'invoice-reconcile', params: { quarter: '2026q3' } };
  taskToken = (await world.api('POST', '/v1/tasks', { bearer: await world.workload(), json })).body.taskToken;
}, 60_000);

afterAll(() => world.stop());

const report = { tool: 'report.post', identifier: 'https://reports.example/2026q3' };
const mine = (detail: Record<string, unknown> = {}, more: Record<string, string> = {}) =>
  form(taskToken, { ...report, ...detail }, { subject_token_type: accessTokenType, ...more });

test('what stands in the query is never read as a parameter', async () => {
  const query = String(new URLSearchParams({ grant_type: tokenExchange, ...mine() }));
  const empty = await world.api('POST', `/token?${query}`, {
    yaml: '',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  expect([empty.status, empty.body.reason]).toEqual([400, 'missing_parameter']);
  const ignored = await world.api('POST', '/token?grant_type=password&audience=x&scope=nonsense', {
    yaml: String(new URLSearchParams(mine())),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  expect(ignored.status).toBe(200);
});

test('unknown parameters and an unknown client_id change nothing', async () => {
  const answer = await world.exchange(
    mine({}, { client_id: 'any', nonsense: 'x', completion_mode: 'deferred' }),
  );
  expect(answer.status).toBe(200);
});

test('several spellings of the one target are one; the scope is said when it is not what was asked', async () => {
  const both = `${new URLSearchParams(mine())}&resource=${report.identifier}&audience=https://reports.example/mcp`;
  const answer = await world.exchange(both);
  expect([answer.status, answer.body.scope]).toEqual([200, 'write']);
  const asked = await world.exchange(mine({}, { scope: 'write' }));
  expect([asked.status, Object.keys(asked.body).includes('scope')]).toEqual([200, false]);
  const foreign = await world.exchange(mine({}, { scope: 'https://www.googleapis.com/auth/cloud-platform' }));
  expect([foreign.status, foreign.body.scope]).toEqual([200, 'write']);
});

test('a client assertion of the same workload is taken beside the subject', async () => {
  const answer = await world.exchange(
    mine(
      {},
      {
        client_assertion: await world.workload(),
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      },
    ),
  );
  expect(answer.status).toBe(200);
});
