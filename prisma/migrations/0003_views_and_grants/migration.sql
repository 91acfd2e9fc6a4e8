-- Stable views: columns are only ever added.
create view mayfly_tasks_v1 as
select id, ref, template, template_version, workload_issuer, workload_subject, parent_id, state, state_reason, objective,
  params, opened_at, lease_until as lease_expires_at, expires_at, ended_at, outcome
from task;

create view mayfly_grants_v1 as
select id, task_id, name, tool, provider, access, resource, actions, uses as exchanges_used,
  exchanges_max, state, ended_at
from task_grant;

create view mayfly_audit_v1 as
select seq, id, at, type, actor, task_id, issuance_id, convert_from(body, 'UTF8')::jsonb as body, leaf_hash
from audit_entry;

-- `state`: a cloud credential follows its work row; a tool token ends when revoked, with its grant, or by its own expiry.
-- An end that lies ahead is the expiry of an offline tool token that was revoked: asked for, and not there yet.
create view mayfly_issuances_v1 as
select i.id, i.seq, i.intended_at as at,
  case
    when i.decision = 'deny' then 'refused'
    when e.at <= now() and w.id is null then case when d.issuance_id is null and not i.local then 'reaped' else 'ended' end
    when w.state = 'reaped' then 'reaped'
    when w.state is not null then w.state
    when i.local and least(i.not_after, g.ended_at) <= now() then 'ended'
    else 'delivered'
  end as state,
  i.decision, i.reason, i.task_id, t.ref as task_ref, i.template, i.template_version, i.grant_name, i.workload_issuer,
  i.workload_subject, i.actor_issuer, i.actor_subject, t.objective, i.purpose_text as purpose,
  i.tool, i.provider, i.access, i.resource, i.actions, i.native_permissions, i.ttl_seconds,
  case when i.local and i.decision = 'allow' then i.intended_at else d.delivered_at end as issued_at,
  case when i.decision = 'allow' then coalesce(d.expires_at, i.not_after) end as expires_at,
  coalesce(case when e.at <= now() then e.at end, case when i.local and i.decision = 'allow' and least(i.not_after, g.ended_at) <= now()
    then least(i.not_after, g.ended_at) end) as ended_at,
  coalesce(case when e.at <= now() then e.method end, case when i.local and i.decision = 'allow' and least(i.not_after, g.ended_at) <= now()
    then case when g.ended_at < i.not_after and i.ends_by <> 'expired' then i.ends_by else 'expired' end end) as ended_by,
  i.worst_case_seconds, coalesce(w.requested_at, e.requested_at) as revoke_requested_at,
  case when e.method in ('deleted', 'denied', 'cut') then e.at end as revoke_confirmed_at,
  null::uuid as approval_id, i.assertion_digest, i.input_digest, i.policy_epoch as policy_version,
  i.reach as provider_ref, d.key_hash as provider_key_hash, i.request_id,
  i.purpose as kind,
  -- How far a denial has come; effective only where a session was seen refused.
  case
    when i.local or i.decision <> 'allow' or i.ends_by <> 'denied' or coalesce(w.requested_at, e.requested_at) is null then null
    when coalesce(d.expires_at, i.not_after) <= now() then 'expired'
    when y.effective_at is not null then 'deny_effective'
    when y.acknowledged_at is not null then 'deny_acked'
    else 'deny_requested'
  end as denial,
  y.acknowledged_at as denial_acked_at, y.effective_at as denial_effective_at
from issuance i
left join issuance_delivery d on d.issuance_id = i.id and d.intended_at = i.intended_at
left join work w on w.id = i.id
left join task t on t.id = i.task_id
left join task_grant g on g.id = i.grant_id
left join lateral (
  select x.at, x.method, x.requested_at from issuance_end x
  where x.issuance_id = i.id and x.intended_at = i.intended_at and w.id is null order by x.at desc limit 1
) e on true
left join deny_entry y on y.provider = i.provider and y.role = i.plan->'body'->>'role' and y.source_identity = i.reach
  and i.ends_by = 'denied';

-- mayfly_app changes no issuance and no audit row; mayfly_auditor sees views only.
revoke all on schema public from public;
grant usage on schema public to mayfly_app, mayfly_auditor;
revoke all on all tables in schema public from public;
revoke all on all functions in schema public from public;
grant execute on all functions in schema public to mayfly_app;
grant usage, select on all sequences in schema public to mayfly_app;
grant select, insert on issuance, issuance_delivery, issuance_end, audit_entry, document to mayfly_app;
grant select, insert, update, delete on installation, config_epoch, frozen, document_active, signing_key, task, task_grant,
  sighting, quarantine, subject_cut, security_event, counter, replay, idempotency, work, revocation, review, deny_document, deny_entry to mayfly_app;
-- `serve` tells a database that is not migrated from one that is.
grant select on _prisma_migrations to mayfly_app;
grant select on mayfly_issuances_v1, mayfly_tasks_v1, mayfly_grants_v1, mayfly_audit_v1 to mayfly_auditor, mayfly_app;
