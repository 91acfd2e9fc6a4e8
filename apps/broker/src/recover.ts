import { auditEvent, endTask, type LifecyclePorts } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import type { Store } from '@mayfly/store';
import { algorithmsOf, firstActiveFrom, makeSigningKey } from './keys/keyring.ts';
import { keyEvent } from './keys/load.ts';

const batch = 200;

/** What `mayfly recover` would do. */
export interface RecoverySurvey {
  /** Why nothing is issued; null: no broker has found anything wrong. */
  readonly recovery: string | null;
  readonly openTasks: number;
  /** Of AWS: whose sessions are cut by the time of their issue. */
  readonly roles: readonly { readonly provider: string; readonly role: string }[];
}

export async function surveyRecovery(store: Store): Promise<RecoverySurvey> {
  const { recovery } = await store.recovery.state();
  return { recovery, openTasks: await store.recovery.countOpenTasks(), roles: await rolesOf(store) };
}

/**
 * Ends everything that an older state may have forgotten (contract.md section 6), and lets issuing go on. Every step may
 * be repeated: killed anywhere, it is run again. Answers how many tasks it ended; null: one was opened meanwhile.
 */
export async function recoverDatabase(
  store: Store,
  { kek, onEnded }: { readonly kek: Buffer; onEnded(tasks: number): void },
): Promise<number | null> {
  const { recovery, roles } = await surveyRecovery(store);
  if (recovery === null)
    await store.recovery.require('asked', event('installation.recovery_required', { why: 'asked' }));
  for (const role of roles) await store.recovery.cut(role);
  const tasks = await endAll(store, onEnded);
  await renewKeys(store, kek);
  const body = { tasks, roles: roles.map(({ provider, role }) => `${provider} ${role}`) };
  return (await store.recovery.finish(event('installation.recovered', body))) ? tasks : null;
}

const newId = () => uuidV7(Date.now(), crypto.getRandomValues(new Uint8Array(10)));
const event = (type: string, body: Record<string, unknown> = {}) =>
  auditEvent({ newId, now: new Date() }, { type, actor: 'mayfly recover', body });

/** Every role that sessions may have been cut from: those of Providers in force, and those with a deny document. */
async function rolesOf(store: Store): Promise<readonly { provider: string; role: string }[]> {
  const { documents } = await store.documents.load();
  const found = new Map<string, { provider: string; role: string }>();
  const add = (provider: string, role: string) => found.set(`${provider}\n${role}`, { provider, role });
  for (const { kind, name, body } of documents) {
    const spec = Object(body['spec']);
    if (kind !== 'Provider' || spec.type !== 'aws' || spec.revoke === 'none') continue;
    for (const role of spec.roles) add(name, String(role));
  }
  for (const { provider, role } of await store.recovery.deniedRoles()) add(provider, role);
  return [...found.values()];
}

async function endAll(store: Store, onEnded: (tasks: number) => void): Promise<number> {
  const ports: LifecyclePorts = {
    tasks: store.taskStore,
    // An end asks no policy.
    policies: { current: unasked, refresh: unasked, version: unasked },
    newId,
    now: () => new Date(),
  };
  let ended = 0;
  for (;;) {
    const ids = await store.recovery.openTasks(batch);
    if (ids.length === 0) return ended;
    for (const id of ids) {
      await endTask(id, { state: 'cancelled', reason: 'database recovered', actor: 'mayfly recover' }, ports);
      ended += 1;
      onEnded(ended);
    }
  }
}

const unasked = () => Promise.reject(new TypeError('an end asks no policy'));

/** Tokens that were signed in the forgotten time are good nowhere any more. */
async function renewKeys(store: Store, kek: Buffer): Promise<void> {
  const now = new Date();
  const old = (await store.keys.list()).filter(
    ({ purpose, retiredAt }) =>
      (purpose === 'token' || purpose === 'sign-in') && (retiredAt === null || retiredAt > now),
  );
  for (const purpose of ['token', 'sign-in'] as const)
    for (const alg of algorithmsOf[purpose]) {
      const key = await makeSigningKey(purpose, { kek, now, activeFrom: firstActiveFrom(now), alg });
      await store.keys.insert(key, { onlyIfNone: false, audit: keyEvent('key.rotated', key) });
    }
  for (const key of old)
    await store.keys.retire(key.id, now, keyEvent('key.retired', { ...key, retiredAt: now }));
}
