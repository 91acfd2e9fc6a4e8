import { createHash } from 'node:crypto';
import { parseId } from '@mayfly/protocol';
import { s3Status } from '../e2e/s3.ts';
import type { ClientLog } from './clients.ts';
import type { ChaosScene } from './scene.ts';

export interface Finding {
  readonly what: string;
  readonly found: number;
  readonly atMost: number;
  /** The first few, to begin with. */
  readonly examples: readonly string[];
}

/** Ends that were asked for by then: tasks that nobody ended go on losing their leases meanwhile. */
export const unconfirmed = (askedBy: string) =>
  `select concat(id, ' (', attempts, ' tries, due in ', round(extract(epoch from due_at - now())), ' s, asked for ',
     round(extract(epoch from now() - requested_at)), ' s ago)')
   from work where state = 'revoking' and requested_at <= '${askedBy}'`;

/** Clients' log, tables, audit rows and the cloud's own ledger, joined. Everything is up, and what was asked for has ended. */
export async function check(
  scene: ChaosScene,
  log: ClientLog,
  { askedBy, serviceGapSecondsMax }: { askedBy: string; serviceGapSecondsMax: number },
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const note = (what: string, of: readonly string[]) =>
    findings.push({ what, found: of.length, atMost: 0, examples: of.slice(0, 3) });
  const rows = await scene.sql(
    `select i.id, i.reach, i.purpose, i.task_id, d.key_hash is not null as delivered, d.key_hash
     from issuance i left join issuance_delivery d on d.issuance_id = i.id and d.intended_at = i.intended_at
     where i.decision = 'allow'`,
  );
  const byId = new Map(rows.map((row) => [String(row['id']), row]));
  note(
    'credentials that a client has and no row says were delivered (I2)',
    log.given.flatMap(({ issuance }) =>
      byId.get(parseId('isn', issuance) ?? '')?.['delivered'] === true ? [] : [issuance],
    ),
  );
  const reaches = new Set(rows.map((row) => String(row['reach'])));
  note(
    'sessions in the cloud’s ledger that no issuance explains (I3)',
    scene.world.clouds.aws.ledger().flatMap(({ eventName, requestParameters, errorCode }) => {
      const reach = requestParameters['sourceIdentity'];
      const isOurs = eventName.startsWith('Assume') && typeof reach === 'string' && errorCode === null;
      return isOurs && !reaches.has(reach) ? [reach] : [];
    }),
  );
  const alive: string[] = [];
  const ended = new Set(log.ended);
  for (const { issuance, task, keys } of log.given)
    if (ended.has(task) && (await s3Status(scene.world, keys, '2026q3/a.pdf')) === 200) alive.push(issuance);
  note('keys of an ended task that still open something (I4)', alive);
  const ids = async (text: string) => (await scene.sql(text)).map((row) => String(Object.values(row)[0]));
  note(
    'issuances of a task from after its end (I4)',
    await ids(
      // By the order of the log, which their locks give: a replica's own clock, which names its ids, may be off.
      `select a.issuance_id from audit_entry a join audit_entry e on e.task_id = a.task_id and e.type = 'task.ended'
       where a.type = 'exchange.intended' and a.seq > e.seq`,
    ),
  );
  note(
    'ends that were answered and that the table does not know',
    await ids(
      `select id from unnest(array[${[...ended].map((task) => `'${parseId('tsk', task)}'`).join()}]::uuid[]) id
       where not exists (select from task t where t.id = id and t.state not in ('open', 'suspended'))`,
    ),
  );
  note('ends that were asked for and not confirmed (I5)', await ids(unconfirmed(askedBy)));
  note(
    'tasks that are open beneath one that has ended (I4)',
    await ids(
      `select c.id from task c join task p on p.id = c.parent_id where c.state in ('open', 'suspended') and p.state not in ('open', 'suspended')`,
    ),
  );
  note(
    'deliveries without exactly one event (I9)',
    await ids(
      `select d.issuance_id from issuance_delivery d where (select count(*) from audit_entry a
       where a.issuance_id = d.issuance_id and a.type in ('exchange.delivered', 'base.delivered')) <> 1`,
    ),
  );
  const audit = await scene.sql("select id, body, encode(leaf_hash, 'hex') as leaf from audit_entry");
  note(
    'audit rows whose hash is another',
    audit.flatMap(({ id, body, leaf }) => {
      const hash = createHash('sha256')
        .update(Buffer.of(0))
        .update(body as Buffer)
        .digest('hex');
      return hash === leaf ? [] : [String(id)];
    }),
  );
  // A document that could not name each of so many ends hits others, and says so (docs/clouds/aws.md).
  const widened = await ids("select id from audit_entry where type = 'deny.widened'");
  note(
    'credentials that were denied before their end, and no document was widened',
    widened.length > 0 ? [] : log.hit,
  );
  note('answers that no fault explains', log.wrong);
  const gap = Math.round(log.longestGapMs / 100) / 10;
  findings.push({
    what: 'seconds without any answer of 200, the longest',
    found: gap,
    atMost: serviceGapSecondsMax,
    examples: [],
  });
  return findings;
}
