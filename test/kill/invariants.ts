import { createHash } from 'node:crypto';
import type { World } from '../e2e/world.ts';

/** The invariants of docs/architecture.md that tables and ledger can show. */
export async function invariants(survivor: World): Promise<string[]> {
  const problems: string[] = [];
  const minted = survivor.clouds.aws
    .ledger()
    .filter(
      ({ eventName, responseElements, requestParameters }) =>
        responseElements !== null &&
        (eventName === 'GetScopedCredentials' || requestParameters['sourceIdentity'] !== undefined),
    );
  const rows = await survivor.sql<{
    session: string;
    description: string;
    purpose: string;
    key_hash: string | null;
  }>(
    `select i.plan->'body'->>'sessionName' as session, i.plan->'body'->>'description' as description, i.purpose, d.key_hash
     from issuance i left join issuance_delivery d on d.issuance_id = i.id where i.provider = 'local-aws' and i.decision = 'allow'`,
  );
  for (const { eventName, requestParameters, responseElements } of minted) {
    const joined = rows.filter(({ session, description, purpose }) =>
      eventName === 'GetScopedCredentials'
        ? purpose === 'agent' && description === requestParameters['scopedSessionDescription']
        : session === requestParameters['roleSessionName'],
    );
    const { accessKeyId } = (responseElements as { credentials: { accessKeyId: string } }).credentials;
    const hash = createHash('sha256').update(accessKeyId).digest('hex');
    if (joined.length !== 1) problems.push(`I3: a ${eventName} joins to ${joined.length} issuances`);
    else if (joined[0]?.key_hash != null && joined[0].key_hash !== hash)
      problems.push('I3: another key than the ledger’s');
  }
  const queries: Readonly<Record<string, string>> = {
    'I4: a credential of an ended task is neither confirmed, expired nor queued': `select i.id from issuance i join task t on t.id = i.task_id left join work w on w.id = i.id
      where i.decision = 'allow' and not i.local and t.state not in ('open', 'suspended') and i.not_after > now()
        and w.id is null and not exists (select from issuance_end e where e.issuance_id = i.id)`,
    'I4: delivered, but its task has ended': `select w.id from work w join task t on t.id = w.task_id where w.state in ('delivered', 'intended') and t.state not in ('open', 'suspended')`,
    'I8: budget and issuances differ': `select g.id from task_grant g where g.uses <> (select count(*) from issuance i where i.grant_id = g.id and i.decision = 'allow' and i.purpose = 'agent')`,
    'I9: an issuance without exactly one audit row of its decision': `select i.id from issuance i where 1 <> (select count(*) from audit_entry a where a.issuance_id = i.id and a.type in ('exchange.intended', 'exchange.refused', 'base.intended'))`,
    'I2: delivered without an outcome in the log': `select d.issuance_id from issuance_delivery d where not exists (select from audit_entry a where a.issuance_id = d.issuance_id and a.type in ('exchange.delivered', 'base.delivered'))`,
    'a revocation that nobody goes on with': `select id from revocation where done_at is null and due_at < now() - interval '1 minute'`,
    'a revocation is done and a task of it lives': `select t.id from task t join revocation r on r.scope = 'template' and r.name = t.template where r.done_at is not null and t.stored_at < r.requested_at and t.state in ('open', 'suspended')`,
    'a task that ended has an active grant': `select g.id from task_grant g join task t on t.id = g.task_id where t.state not in ('open', 'suspended') and g.state <> 'ended'`,
  };
  for (const [name, text] of Object.entries(queries))
    if ((await survivor.sql(text)).length > 0) problems.push(name);
  return problems;
}
