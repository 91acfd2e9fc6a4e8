import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { canonicalText } from '@mayfly/audit';
import { seededIds } from '@mayfly/testkit';
import { describeStore, type StoreUnderTest } from '@mayfly/testkit/contracts';
import pg from 'pg';
import { startEmbedded } from './embedded.ts';
import { migrate } from './migrate.ts';
import { createStore, type Store } from './store.ts';

const reapAgeSeconds = 60;

describeStore('the store in PostgreSQL', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-store-'));
  if (process.getuid?.() === 0) chmodSync(dataDir, 0o711);
  const embedded = await startEmbedded({ dataDir, log: () => undefined });
  await migrate(embedded.ownerUrl);
  const owner = new pg.Pool({ connectionString: embedded.ownerUrl, max: 4 });
  // Its connections may still be closing when the server stops.
  owner.on('error', () => undefined);
  const replicas = [1, 2].map(() =>
    createStore({
      url: embedded.appUrl,
      connections: 8,
      endingConnections: 2,
      reapAgeSeconds,
      rowMac: () => Buffer.alloc(32),
      onError: () => undefined,
    }),
  );
  const close = async () => {
    for (const replica of replicas) await replica.close();
    await owner.end();
    await embedded.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { store: storeOf(replicas, owner), close };
});

function storeOf([first, second]: readonly Store[], owner: pg.Pool): StoreUnderTest {
  if (first === undefined || second === undefined) throw new Error('two replicas are needed');
  const portsOf = ({ ledger, taskStore: tasks, queue, revocations, deny }: Store) => ({
    ...{ ledger, tasks, queue, revocations, deny },
  });
  return {
    ...portsOf(first),
    replica: () => portsOf(second),
    newId: seededIds({ now: () => new Date() }),
    now: () => first.databaseNow(),
    epoch: async () => (await first.documents.readEpoch()).epoch,
    ...moves(owner),
    ...looks(owner),
  };
}

type Hooks = Omit<
  StoreUnderTest,
  'newId' | 'now' | 'epoch' | 'replica' | 'ledger' | 'tasks' | 'queue' | 'revocations' | 'deny'
>;

/** Time is moved in rows, by the owner of the tables: the database's clock is its own. */
function moves(owner: pg.Pool) {
  const run = async (text: string, values: readonly unknown[] = []): Promise<void> => {
    await owner.query(text, [...values]);
  };
  const ago = 'clock_timestamp() - make_interval(secs => $2)';
  return {
    raiseEpoch: () => run('update config_epoch set epoch = epoch + 1'),
    freeze: async (reason, { scope, name } = { scope: 'all', name: '' }) => {
      await run('update config_epoch set epoch = epoch + 1');
      if (reason === null) await run('delete from frozen');
      else await run('insert into frozen (scope, name, reason) values ($1, $2, $3)', [scope, name, reason]);
    },
    revocationDue: (id) => run('update revocation set due_at = clock_timestamp() where id = $1', [id]),
    makeDue: (id) => run('update work set due_at = clock_timestamp() where id = $1', [id]),
    nothingDue: () => run(`update work set due_at = clock_timestamp() + interval '1 hour'`),
    passNotAfter: (id, seconds) => run(`update work set not_after = ${ago} where id = $1`, [id, seconds]),
    leaveLease: (id, seconds) =>
      run(
        `update task set lease_until = case on_lapse when 'note' then lease_until else ${ago} end,
           silent_at = case on_lapse when 'note' then ${ago} end where id = $1`,
        [id, -seconds],
      ),
    passExpiry: (id) => run(`update task set expires_at = ${ago} where id = $1`, [id, 1]),
    nextWindow: () => run('delete from counter'),
    sightingsAgo: (id, seconds) => run(`update sighting set at = ${ago} where task_id = $1`, [id, seconds]),
    reviewDue: () => run('update review set due_at = clock_timestamp()'),
    passQuarantine: (template) =>
      run(`update quarantine set until = ${ago} where template = $1`, [template, 1]),
    passWriterLease: (role) =>
      run(`update deny_document set writer_until = ${ago} where role = $1`, [role, 1]),
    neededUntil: (role, seconds) =>
      run(`update deny_entry set needed_until = ${ago} where role = $1`, [role, -seconds]),
    readAgo: (role, seconds) =>
      run(`update deny_document set read_at = ${ago} where role = $1`, [role, seconds]),
  } satisfies Partial<Hooks>;
}

function looks(owner: pg.Pool) {
  const read = async <Row extends pg.QueryResultRow>(text: string, id: string): Promise<Row[]> =>
    (await owner.query<Row>(text, [id])).rows;
  const dueIn = 'extract(epoch from due_at - clock_timestamp())::float8';
  return {
    events: async (taskId) => {
      const text = 'select type from audit_entry where task_id = $1 order by seq';
      return (await read<{ type: string }>(text, taskId)).map(({ type }) => type);
    },
    bodies: async (type, taskId) => {
      const text = `select convert_from(body, 'UTF8') as body from audit_entry
        where task_id = $1 and type = '${type}' order by seq`;
      const events = (await read<{ body: string }>(text, taskId)).map(({ body }) => body);
      // What SQL has written is what would be hashed anywhere else.
      for (const event of events) expect(event).toBe(canonicalText(JSON.parse(event)));
      return events.map((event) => JSON.parse(event).body);
    },
    work: async (id) => {
      const text = `select state, attempts, ${dueIn} as "dueInSeconds" from work where id = $1`;
      const [row] = await read<{ state: string; attempts: number; dueInSeconds: number }>(text, id);
      return row;
    },
    endsOf: async (id) => {
      const text = 'select method from issuance_end where issuance_id = $1 order by at';
      return (await read<{ method: string }>(text, id)).map(({ method }) => method);
    },
    hasIssuance: async (id) => (await read('select id from issuance where id = $1', id)).length > 0,
  } satisfies Partial<Hooks>;
}
