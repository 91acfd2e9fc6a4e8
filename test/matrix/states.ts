import { reaperPass } from '@mayfly/broker';
import { parseId } from '@mayfly/protocol';
import { form } from '../e2e/world.ts';
import type { Changes } from './documents.ts';
import type { Tag } from './paths.ts';
import type { Scene } from './scene.ts';

export interface State {
  readonly name: string;
  /** Does this path give nothing any more? The others must go on: a state that breaks everything would prove nothing. */
  reaches(tags: readonly Tag[]): boolean;
  /** Commits, by the first replica; `tasks` are those at the root of each path. */
  enter(scene: Scene, tasks: readonly string[]): Promise<void>;
  leave(scene: Scene): Promise<void>;
}

const any =
  (...wanted: readonly Tag[]) =>
  (tags: readonly Tag[]) =>
    wanted.some((tag) => tags.includes(tag));
/** Whatever an agent is given or renews; an operator's resumption gives nothing by itself, and what is out stays out. */
const whatAgentsAsk = any('exchange', 'opens', 'heartbeat');

/** Other documents are in force. */
function documents(name: string, changes: Changes, reaches: State['reaches']): State {
  return { name, reaches, enter: (scene) => scene.apply(changes), leave: (scene) => scene.apply() };
}

/** Something happens to each task; nothing is undone, since a closed task never reopens. */
function tasks(
  name: string,
  run: (scene: Scene, task: string) => Promise<unknown>,
  reaches: State['reaches'] = any('task'),
): State {
  return {
    name,
    reaches,
    enter: async (scene, all) => {
      for (const task of all) await run(scene, task);
    },
    leave: async () => undefined,
  };
}

const asPerson = async (scene: Scene, path: string, json: unknown = {}) => {
  const answer = await scene.world.api('POST', path, { bearer: await scene.world.person(), json });
  if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
};
/** Of the task at the root alone: what time does to it must reach those beneath before any reaper comes. */
const bySql = (column: string) => (scene: Scene, task: string) =>
  scene.world.sql(`update task set ${column} = now() - interval '1 second' where id = $1`, [
    parseId('tsk', task),
  ]);

function frozen(named: Readonly<Record<string, string>>, reaches: State['reaches']): State {
  return {
    name: `frozen: ${Object.entries(named).join()}`,
    reaches,
    enter: (scene) => asPerson(scene, '/v1/freeze', { ...named, reason: 'matrix' }),
    leave: (scene) => asPerson(scene, '/v1/thaw', { ...named, reason: 'matrix' }),
  };
}

async function revokeGrants(scene: Scene, task: string): Promise<void> {
  const bearer = await scene.world.person();
  const { body } = await scene.world.api('GET', `/v1/grants?task=${task}`, { bearer });
  for (const { id } of body.items) await asPerson(scene, `/v1/grants/${id}/revoke`);
}

/** Until every task has ended: what the clouds confirm comes later. */
async function revokeAll(scene: Scene, named: Readonly<Record<string, string>>): Promise<void> {
  await asPerson(scene, '/v1/revocations', { ...named, reason: 'matrix' });
  await finishRevocations(scene);
}

async function finishRevocations({ world }: Scene): Promise<void> {
  const left = () => world.sql('update revocation set due_at = now() where done_at is null returning id');
  while ((await left()).length > 0) await reaperPass(world.running.broker);
}

/** Another task of each workload and template strays from its path; those of the paths go on in all else. */
const quarantined: State = {
  name: 'quarantined',
  reaches: any('exchange', 'opens'),
  enter: async (scene) => {
    const { world } = scene;
    const astray = { tool: 'mail.send', task: { template: 'matrix-job', ref: 'astray' } };
    const within = { ...astray, tool: 'report.post', identifier: 'https://matrix.example/a' };
    const bearer = () => scene.agent('agent');
    for (const detail of [within, astray]) await world.exchange(form(await bearer(), detail));
    const rows = await world.sql('select template from quarantine where until > now()');
    if (rows.length === 0) throw new Error('nobody is quarantined');
  },
  leave: async ({ world }) => {
    await world.sql('update quarantine set until = now()');
  },
};

/** No reaper comes; and whoever has an assertion from before it goes on showing that one. */
function sessionRevoked(subject: string, reaches: State['reaches']): State {
  return {
    name: `session revoked: ${subject}`,
    reaches,
    enter: async (scene) => {
      scene.holdAssertions(true);
      await scene.sessionRevoked(subject);
    },
    leave: async (scene) => {
      await finishRevocations(scene);
      await scene.world.sql('delete from subject_cut');
      scene.holdAssertions(false);
    },
  };
}

export const states: readonly State[] = [
  documents(
    'issuer removed',
    { issuer: 'elsewhere' },
    // The document means another issuer by now, and an orchestrator of the staff opens for a workload of that one.
    (tags) => any('exchange', 'opens', 'heartbeat', 'introspect')(tags) && !tags.includes('orchestrator'),
  ),
  documents('issuer keys removed', { keys: 'other-jwks' }, any('assertion')),
  documents(
    'namespace narrowed',
    { subjects: 'nobody' },
    any('exchange', 'opens', 'heartbeat', 'introspect'),
  ),
  documents('template disabled', { mode: 'disabled' }, whatAgentsAsk),
  documents('template deleted', { template: 'none' }, whatAgentsAsk),
  documents('workload dropped', { workload: 'somebody-else' }, whatAgentsAsk),
  documents('tool dropped', { tool: 'report.other' }, any('token')),
  documents('resource narrowed', { resource: 'https://matrix.example/b/**' }, any('token')),
  documents('proof demanded', { proof: 'dpop' }, (tags) => tags.includes('token') && !tags.includes('bound')),
  documents('delegation withdrawn', { actors: '' }, any('actor')),
  documents(
    'actor dropped',
    { actors: 'other-helper' },
    (tags) => tags.includes('actor') && !tags.includes('tool-server'),
  ),
  documents('children withdrawn', { children: 'matrix-other' }, any('child')),
  documents('tool server dropped', { toolServer: 'other-tool' }, any('tool-server')),
  documents('role removed', { operators: 'oscar' }, any('operator')),
  documents('orchestrator removed', { orchestrators: 'oscar' }, any('orchestrator')),
  documents('openers withdrawn', { openers: '' }, any('opener')),
  {
    name: 'frozen',
    reaches: any('exchange', 'opens'),
    enter: (scene) => asPerson(scene, '/v1/freeze', { reason: 'matrix' }),
    leave: (scene) => asPerson(scene, '/v1/thaw', { reason: 'matrix' }),
  },
  {
    name: 'recovery required',
    reaches: any('exchange', 'opens'),
    enter: async ({ world }) => void (await world.sql("update config_epoch set recovery = 'older'")),
    leave: async ({ world }) => void (await world.sql('update config_epoch set recovery = null')),
  },
  frozen({ template: 'matrix-job' }, any('exchange', 'opens')),
  frozen({ issuer: 'matrix-agents' }, any('exchange', 'opens')),
  frozen({ provider: 'token' }, any('token')),
  tasks('task ended', (scene, task) => asPerson(scene, `/v1/tasks/${task}/end`, { outcome: 'cancelled' })),
  tasks(
    'task suspended',
    (scene, task) => asPerson(scene, `/v1/tasks/${task}/suspend`),
    // To resume is what an operator does about it.
    (tags) => tags.includes('task') && !tags.includes('operator'),
  ),
  // The task lives on, and may open a child that is given nothing.
  tasks(
    'grant revoked',
    revokeGrants,
    (tags) => tags.includes('task') && any('exchange', 'introspect')(tags),
  ),
  {
    name: 'revoked by template',
    reaches: any('task'),
    enter: (scene) => revokeAll(scene, { template: 'matrix-job' }),
    leave: async () => undefined,
  },
  quarantined,
  // Who opens a task for another shows an assertion of his own.
  sessionRevoked(
    'agent',
    (tags) => any('task')(tags) || (tags.includes('assertion') && !tags.includes('opener')),
  ),
  sessionRevoked('helper', (tags) => tags.includes('actor') && !tags.includes('tool-server')),
  tasks('task expired', bySql('expires_at')),
  tasks('lease lost', bySql('lease_until')),
];
