import { randomUUID } from 'node:crypto';
import { type ProofMaker, proofMaker } from '../e2e/dpop.ts';
import { login } from '../e2e/sign-in.ts';
import { type Answer, accessTokenType, form } from '../e2e/world.ts';
import type { PostOptions, Scene } from './scene.ts';

/** What a path is made of; a state says which of these it reaches. */
export type Tag =
  | 'assertion' // an assertion of an agent is shown
  | 'task' // belongs to the task that the state ends or suspends
  | 'exchange'
  | 'opens'
  | 'token' // mints a tool token
  | 'actor'
  | 'child'
  | 'child-opening'
  | 'tool-server'
  | 'bound'
  | 'opener' // another than the workload opens
  | 'orchestrator'
  | 'heartbeat'
  | 'introspect'
  | 'operator';

export interface Attempt {
  /** The task that belongs to the path, at its root. */
  readonly task: string;
  /** Asks once more; true when something was given or renewed. */
  ask(url: string): Promise<{ readonly granted: boolean; readonly said: string }>;
}

export interface Path {
  readonly id: string;
  /** The route of the OpenAPI document, and of the metadata's grant type where there is one. */
  readonly route: string;
  readonly grantType?: string;
  readonly tags: readonly Tag[];
  prepare(scene: Scene): Promise<Attempt>;
}

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const report = { tool: 'report.post', identifier: 'https://matrix.example/a' };
const invoice = { tool: 's3.read', identifier: 'arn:aws:s3:::invoices/2026q3/a.pdf' };
const byToken = { subject_token_type: accessTokenType };
const jwt = 'urn:ietf:params:oauth:token-type:jwt';
const opening = (ref: string = randomUUID()) => ({ task: { template: 'matrix-job', ref } });

interface Opened {
  readonly task: string;
  readonly ref: string;
  readonly taskToken: string;
  readonly toolToken: string;
}

const told = ({ status, body }: Answer) => `${status} ${body.reason ?? body.state ?? ''}`;

async function given(scene: Scene, url: string, path: string, options: PostOptions) {
  const answer = await scene.post(url, path, options);
  return { granted: answer.status < 300, said: told(answer), answer };
}

async function open(scene: Scene, more: { actor?: boolean; client?: ProofMaker } = {}): Promise<Opened> {
  const { world } = scene;
  const ref = randomUUID();
  const actor = more.actor ? { actor_token: await scene.agent('helper'), actor_token_type: jwt } : {};
  const proof =
    more.client === undefined ? {} : { dpop: await more.client.proof({ url: `${world.url}/token` }) };
  const { answer } = await given(scene, world.url, '/token', {
    form: form(await scene.agent('agent'), { ...report, ...opening(ref) }, actor),
    headers: proof,
  });
  const { issuance, task_token: taskToken, access_token: toolToken } = answer.body;
  if (answer.status !== 200) throw new Error(`not opened: ${JSON.stringify(answer.body)}`);
  return { task: issuance.task, ref, taskToken, toolToken };
}

/** A path whose form is made anew at each asking, from what was opened before. */
function exchanging(
  id: string,
  tags: readonly Tag[],
  make: (scene: Scene, opened: Opened) => Promise<Record<string, string>>,
  options: { actor?: boolean; bound?: boolean } = {},
): Path {
  return {
    id,
    route: 'POST /token',
    grantType: tokenExchange,
    tags: ['exchange', ...tags],
    prepare: async (scene) => {
      const client = options.bound ? await proofMaker() : undefined;
      const opened = await open(scene, { ...options, ...(client === undefined ? {} : { client }) });
      const url = `${scene.world.url}/token`;
      return {
        task: opened.task,
        ask: async (to) =>
          given(scene, to, '/token', {
            form: await make(scene, opened),
            headers: client === undefined ? {} : { dpop: await client.proof({ url }) },
          }),
      };
    },
  };
}

/** The grant of exactly one resource: an `audience` names no pattern. */
async function exactGrant({ world }: Scene, task: string): Promise<string> {
  const { body } = await world.api('GET', `/v1/tasks/${task}`, { bearer: await world.person() });
  return body.grants.find(({ name }: { name: string }) => name === 'exact').id;
}

const actedBy = async (scene: Scene, subject: string) => ({
  actor_token: await scene.agent(subject),
  actor_token_type: jwt,
});

const exchanges: readonly Path[] = [
  exchanging('exchange: assertion, task by id', ['assertion', 'task', 'token'], async (scene, { task }) =>
    form(await scene.agent('agent'), { ...report, task }),
  ),
  exchanging('exchange: assertion, task by ref', ['assertion', 'task', 'token'], async (scene, { ref }) =>
    form(await scene.agent('agent'), { ...report, ...opening(ref) }),
  ),
  exchanging(
    'exchange: assertion, grant as audience',
    ['assertion', 'task', 'token'],
    async (scene, { task }) => {
      const { authorization_details: _, ...rest } = form(await scene.agent('agent'), {});
      return { ...rest, audience: `${scene.world.url}/grants/${await exactGrant(scene, task)}` };
    },
  ),
  exchanging('exchange: assertion that opens', ['assertion', 'opens', 'token'], async (scene) =>
    form(await scene.agent('agent'), { ...report, ...opening() }),
  ),
  exchanging('exchange: task token', ['task', 'token'], async (_, { taskToken }) =>
    form(taskToken, report, byToken),
  ),
  exchanging('exchange: task token, credential of a cloud', ['task'], async (_, { taskToken }) =>
    form(taskToken, invoice, byToken),
  ),
  exchanging(
    'exchange: task token bound by DPoP',
    ['task', 'token', 'bound'],
    async (_, { taskToken }) => form(taskToken, report, byToken),
    { bound: true },
  ),
  exchanging(
    'exchange: actor',
    ['assertion', 'task', 'token', 'actor'],
    async (scene, { task }) =>
      form(await scene.agent('agent'), { ...report, task }, await actedBy(scene, 'helper')),
    { actor: true },
  ),
  exchanging(
    'exchange: task token of a delegated task',
    ['task', 'token', 'actor'],
    async (_, { taskToken }) => form(taskToken, report, byToken),
    { actor: true },
  ),
  exchanging(
    'exchange: sub-agent opens a child',
    ['assertion', 'task', 'token', 'actor', 'opens', 'child', 'child-opening'],
    async (scene, { taskToken }) =>
      form(taskToken, { ...report, ...opening() }, { ...byToken, ...(await actedBy(scene, 'helper')) }),
  ),
  exchanging(
    'exchange: tool opens a child as the actor of its token',
    ['assertion', 'task', 'token', 'actor', 'opens', 'child', 'child-opening', 'tool-server'],
    async (scene, { toolToken }) =>
      form(toolToken, { ...report, ...opening() }, { ...byToken, ...(await actedBy(scene, 'tool')) }),
  ),
];

async function openChild(scene: Scene, taskToken: string): Promise<Opened> {
  const { answer } = await given(scene, scene.world.url, '/token', {
    form: form(taskToken, { ...report, ...opening() }, byToken),
  });
  const { issuance, task_token: childToken, access_token: toolToken } = answer.body;
  return { task: issuance.task, ref: '', taskToken: childToken, toolToken };
}

const childExchange: Path = {
  id: 'exchange: task token of a child',
  route: 'POST /token',
  grantType: tokenExchange,
  tags: ['exchange', 'task', 'token', 'child'],
  prepare: async (scene) => {
    const parent = await open(scene);
    const child = await openChild(scene, parent.taskToken);
    return {
      task: parent.task,
      ask: (url) => given(scene, url, '/token', { form: form(child.taskToken, report, byToken) }),
    };
  },
};

const opens: readonly Path[] = [
  {
    id: 'POST /v1/tasks: assertion',
    route: 'POST /v1/tasks',
    tags: ['assertion', 'opens'],
    prepare: async (scene) => ({
      task: (await open(scene)).task,
      ask: async (url) =>
        given(scene, url, '/v1/tasks', {
          bearer: await scene.agent('agent'),
          json: { template: 'matrix-job' },
        }),
    }),
  },
  {
    id: 'POST /v1/tasks: task token',
    route: 'POST /v1/tasks',
    tags: ['opens', 'task', 'child', 'child-opening'],
    prepare: async (scene) => {
      const { task, taskToken } = await open(scene);
      const json = { template: 'matrix-job' };
      return { task, ask: (url) => given(scene, url, '/v1/tasks', { bearer: taskToken, json }) };
    },
  },
  {
    id: 'POST /v1/tasks: beneath a task that its owner names',
    route: 'POST /v1/tasks',
    tags: ['assertion', 'opens', 'task', 'child', 'child-opening'],
    prepare: async (scene) => {
      const { task } = await open(scene);
      const json = { template: 'matrix-job', parent: task };
      return {
        task,
        ask: async (url) => given(scene, url, '/v1/tasks', { bearer: await scene.agent('agent'), json }),
      };
    },
  },
];

const opensFor: readonly Path[] = [
  openingFor('POST /v1/tasks: for a workload, by a named opener', ['assertion'], (scene) =>
    scene.agent('planner'),
  ),
  openingFor('POST /v1/tasks: for a workload, by an orchestrator', ['orchestrator'], (scene) =>
    scene.staff('orla'),
  ),
];

/** Opens one for the workload, by another: nothing of it is the opener's. */
function openingFor(id: string, tags: readonly Tag[], bearerOf: (scene: Scene) => Promise<string>): Path {
  return {
    id,
    route: 'POST /v1/tasks',
    tags: ['opens', 'opener', ...tags],
    prepare: async (scene) => ({
      task: (await open(scene)).task,
      ask: async (url) =>
        given(scene, url, '/v1/tasks', {
          bearer: await bearerOf(scene),
          json: { template: 'matrix-job', for: { issuer: 'matrix-agents', subject: 'agent' } },
        }),
    }),
  };
}

/** Renewed only where the task is open afterwards. */
function heartbeat(
  id: string,
  tags: readonly Tag[],
  bearerOf: (scene: Scene, own: Opened) => Promise<string>,
  child = false,
): Path {
  return {
    id,
    route: 'POST /v1/tasks/{id}/heartbeat',
    tags: ['heartbeat', 'task', ...tags],
    prepare: async (scene) => {
      const parent = await open(scene);
      const own = child ? await openChild(scene, parent.taskToken) : parent;
      return {
        task: parent.task,
        ask: async (url) => {
          const bearer = await bearerOf(scene, own);
          const { granted, said, answer } = await given(scene, url, `/v1/tasks/${own.task}/heartbeat`, {
            bearer,
          });
          return { granted: granted && answer.body.state === 'open', said };
        },
      };
    },
  };
}

const rest: readonly Path[] = [
  heartbeat('heartbeat: assertion', ['assertion'], (scene) => scene.agent('agent')),
  heartbeat('heartbeat: task token', [], async (_, { taskToken }) => taskToken),
  heartbeat('heartbeat: task token of a child', ['child'], async (_, { taskToken }) => taskToken, true),
  {
    id: 'resume by an operator',
    route: 'POST /v1/tasks/{id}/resume',
    tags: ['operator', 'task'],
    prepare: async (scene) => {
      const { task } = await open(scene);
      return {
        task,
        ask: async (url) => {
          await scene.world.api('POST', `/v1/tasks/${task}/suspend`, { bearer: await scene.world.person() });
          return given(scene, url, `/v1/tasks/${task}/resume`, { bearer: await scene.staff('olga') });
        },
      };
    },
  },
  {
    id: 'resume by an operator who has signed in',
    route: 'POST /v1/tasks/{id}/resume',
    tags: ['operator', 'task'],
    prepare: async (scene) => {
      const { task } = await open(scene);
      const bearer = await login(scene.world, { subject: 'bob@corp.example', groups: 'none' });
      return {
        task,
        ask: async (url) => {
          await scene.world.api('POST', `/v1/tasks/${task}/suspend`, {
            bearer: await scene.world.person(),
          });
          return given(scene, url, `/v1/tasks/${task}/resume`, { bearer });
        },
      };
    },
  },
  {
    id: 'introspection of what is out',
    route: 'POST /introspect',
    tags: ['introspect', 'task', 'tool-server', 'assertion'],
    prepare: async (scene) => {
      const { task, toolToken } = await open(scene);
      return {
        task,
        ask: async (url) => {
          const bearer = await scene.agent('tool');
          const { said, answer } = await given(scene, url, '/introspect', {
            bearer,
            form: { token: toolToken },
          });
          return { granted: answer.body.active === true, said };
        },
      };
    },
  },
];

/** Every way to be given or to renew access. */
export const paths: readonly Path[] = [...exchanges, childExchange, ...opens, ...opensFor, ...rest];

const signedIn =
  'gives a person’s token, whose states are those of test/e2e/sign-in-policy.test.ts; what it may is a path above';
const reads = 'reads';
const changes = 'changes what may be given; what is given is decided anew, here';

/** Routes that give nothing and renew nothing, each with the reason. A route in neither list fails the build. */
export const givesNothing: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      ...['tasks', 'tasks/{id}', 'tasks/{id}/timeline', 'grants'],
      ...['issuances', 'issuances/{id}', 'issuances/{id}/explanation'],
      ...['issuers', 'providers', 'servers', 'templates', 'bindings'].flatMap((kind) => [
        kind,
        `${kind}/{name}`,
      ]),
      ...['freeze', 'revocations', 'revocations/{id}', 'whoami', 'audit/events'],
    ].map((path) => [`GET /v1/${path}`, reads]),
  ),
  ...Object.fromEntries(
    [
      ...['/jwks', '/schemas/mayfly_tool_call.json'],
      ...['oauth-authorization-server', 'openid-configuration', 'oauth-protected-resource'].map(
        (name) => `/.well-known/${name}`,
      ),
    ].map((path) => [`GET ${path}`, 'public']),
  ),
  'POST /device_authorization': signedIn,
  'GET /authorize': signedIn,
  'POST /v1/tasks/{id}/end': 'takes away',
  'POST /v1/tasks/{id}/suspend': 'takes away',
  'POST /v1/tasks/{id}/signals': 'takes away',
  'POST /v1/events': 'takes away',
  'POST /v1/freeze': 'takes away',
  'POST /v1/revocations': 'takes away',
  'POST /v1/grants/{id}/revoke': 'takes away',
  'POST /revoke': 'takes away',
  'POST /v1/plan': reads,
  'POST /v1/apply': changes,
  'POST /v1/thaw': changes,
};

/** Grant types that give no access by themselves, each with the reason. */
export const grantTypesWithout: Readonly<Record<string, string>> = {
  'urn:ietf:params:oauth:grant-type:deferred': 'nothing is deferred before there are approvals',
  'urn:ietf:params:oauth:grant-type:device_code': signedIn,
  authorization_code: signedIn,
};
