-- The hot steps, one client statement each. Every statement inside a VOLATILE plpgsql function has a fresh READ
-- COMMITTED snapshot, so what is read after the grant lock is what the last holder of the lock committed.
-- Lock order everywhere: grants by id, counters, replay keys, then tasks by id, work.

create function uuid_time(id uuid) returns timestamptz language sql immutable strict parallel safe as $$
  select to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0)
$$;

create function append_audit(e jsonb) returns void language sql as $$
  insert into audit_entry (at, id, type, actor, task_id, issuance_id, body, leaf_hash)
  select (e->>'at')::timestamptz, (e->>'id')::uuid, e->>'type', e->>'actor', (e->>'taskId')::uuid,
    (e->>'issuanceId')::uuid, b, sha256('\x00'::bytea || b)
  from (select convert_to(e->>'canonical', 'UTF8') as b) bytes
$$;

create function insert_issuance(r jsonb) returns void language sql as $$
  insert into issuance (id, intended_at, seq, purpose, decision, reason, local, task_id, grant_id, grant_name, template,
    template_version, workload_issuer, workload_subject, actor_issuer, actor_subject, tool, provider, access, resource, actions,
    native_permissions, purpose_text, ttl_seconds, not_after, ends_by, reach, generation, worst_case_seconds,
    policy_epoch, input_digest, assertion_digest, request_id, plan, explanation)
  select (r->>'id')::uuid, uuid_time((r->>'id')::uuid), nextval('issuance_seq'), r->>'purpose',
    case when r->>'reason' is null then 'allow' else 'deny' end, r->>'reason', (r->>'local')::boolean,
    (r->>'taskId')::uuid, (r->>'grantId')::uuid, r->>'grantName', r->>'template', (r->>'templateVersion')::int,
    r->>'workloadIssuer', r->>'workloadSubject', r->'actor'->>'issuerName', r->'actor'->>'subject', r->>'tool', r->>'provider', r->>'access', r->>'identifier',
    array(select jsonb_array_elements_text(r->'actions')),
    array(select jsonb_array_elements_text(r->'nativePermissions')), r->>'purposeText', (r->>'ttlSeconds')::int,
    (r->>'notAfter')::timestamptz, r->>'endsBy', r->>'reach', (r->>'generation')::int, (r->>'worstCaseSeconds')::int,
    (r->>'policyEpoch')::bigint, r->>'inputDigest', r->>'assertionDigest', r->>'requestId',
    nullif(r->'plan', 'null'), r->'explanation'
$$;

create function digests_of(uses jsonb) returns bytea[] language sql immutable as $$
  select coalesce(array_agg(decode(u->>'digest', 'hex')), '{}') from jsonb_array_elements(uses) u
$$;

-- Whether this database is an older state than its caller has seen, or was found to be one.
create function needs_recovery(c config_epoch, known jsonb) returns boolean language sql immutable as $$
  select c.recovery is not null
    or coalesce(c.installation <> (known->>'installation')::uuid, false)
    or coalesce((c.recovered, c.mark) < ((known->>'recovered')::bigint, (known->>'mark')::bigint), false)
$$;

-- What was used before a recovery may have been forgotten by it: an assertion from before counts as used.
create function refuse_older(uses jsonb) returns text language sql stable as $$
  select u->>'replayed' from jsonb_array_elements(uses) u, config_epoch c
  where c.recovered > 0 and case when u->>'issuedAt' is null then to_timestamp(c.recovered / 1000.0) > clock_timestamp() - interval '1 day'
    else (u->>'issuedAt')::timestamptz <= to_timestamp(c.recovered / 1000.0) end
  order by u->>'digest' limit 1
$$;

-- Uses up what works once, in one order for everybody and all or nothing: the refusal of the first that was used before,
-- or null.
create function use_once(uses jsonb) returns text language plpgsql as $$
declare
  u jsonb;
  taken bytea[] := '{}';
  digest_of bytea;
  older text := refuse_older(uses);
begin
  if older is not null then return older; end if;
  for u in select value from jsonb_array_elements(uses) value order by value->>'digest' loop
    digest_of := decode(u->>'digest', 'hex');
    insert into replay (digest, expires_at) values (digest_of, (u->>'expiresAt')::timestamptz) on conflict do nothing;
    if not found then
      delete from replay where digest = any(taken);
      return u->>'replayed';
    end if;
    taken := taken || digest_of;
  end loop;
  return null;
end $$;

-- It, or one above it, is cut, or was opened before a cut of its workload or of whoever acts in it: its end is asked for,
-- and may not have come yet.
create function is_task_cut(task uuid) returns boolean language sql stable as $$
  with recursive up as (
    select t.* from task t where t.id = is_task_cut.task union all
    select t.* from task t join up on t.id = up.parent_id
  )
  select exists (select from up t where t.is_cut) or exists (
    select from up t, subject_cut c
    where c.until > clock_timestamp() and c.tasks_before is not null
      and (t.attested_at is null or t.attested_at <= c.tasks_before)
      and ((c.issuer = t.workload_issuer and c.subject = t.workload_subject)
        or exists (select from jsonb_array_elements(t.actors) a where c.issuer = a->>'issuerName' and c.subject = a->>'subject')))
$$;

-- Why this task gives nothing now, or null: it and each one above must be open, in time, within its lease, and not cut. An end
-- or a suspension above has marked those beneath; what only time does has not, until a reaper comes.
create function refuse_task(task uuid) returns text language sql stable as $$
  with recursive up as (
    select t.* from task t where t.id = refuse_task.task union all
    select t.* from task t join up on t.id = up.parent_id
  )
  select case
    when bool_and(expires_at > clock_timestamp() and (state = 'suspended'
      or (state = 'open' and (lease_until > clock_timestamp() or on_lapse = 'suspend')))) is not true then 'task_ended'
    when exists (select from subject_cut) and is_task_cut(refuse_task.task) then 'session_revoked'
    when not bool_and(state = 'open' and lease_until > clock_timestamp()) then 'task_suspended' end
  from up
$$;

-- The grant lock of the task above is held until the commit: its end comes before, or finds the child.
create function refuse_child(parent uuid, children_max integer) returns text language plpgsql as $$
declare
  refused text;
begin
  perform 1 from task_grant where task_id = parent order by id limit 1 for no key update;
  refused := refuse_task(parent);
  if refused is not null then return refused; end if;
  if (select count(*) from task where parent_id = parent) >= children_max then return 'child_not_allowed'; end if;
  return null;
end $$;

create function is_frozen(of_template text, of_issuer text, of_provider text default null) returns boolean
language sql stable as $$
  select exists (select from frozen x where case x.scope
    when 'all' then true when 'template' then name = of_template when 'issuer' then name = of_issuer
    else name = of_provider end)
$$;

-- An assertion from before a cut, or one that does not say when it was issued.
create function is_cut(attested jsonb) returns boolean language sql stable as $$
  select exists (
    select from jsonb_array_elements(attested) a
    join subject_cut c on c.issuer = a->>'issuerName' and c.subject = a->>'subject' and c.until > clock_timestamp()
    where a->>'issuedAt' is null or (a->>'issuedAt')::timestamptz <= c.before)
$$;

-- Of the oldest assertion of its workload and whoever acts for it; without any, that of the task above, or the opening itself.
create function attested_at(t jsonb, attested jsonb) returns timestamptz language plpgsql stable as $$
declare
  own record;
begin
  select count(*) as n, bool_and(a->>'issuedAt' is not null) as all_say, min((a->>'issuedAt')::timestamptz) as oldest into own
  from jsonb_array_elements(attested) a
  where (a->>'issuerName' = t->>'workloadIssuer' and a->>'subject' = t->>'workloadSubject')
    or t->'actors' @> jsonb_build_array(jsonb_build_object('issuerName', a->>'issuerName', 'subject', a->>'subject'));
  if own.n > 0 then return case when own.all_say then own.oldest end; end if;
  if t->>'parentId' is null then return (t->>'openedAt')::timestamptz; end if;
  return (select x.attested_at from task x where x.id = (t->>'parentId')::uuid);
end $$;

-- Asked only where anything is: a walk up costs more than all other looks of an intent.
-- Of this workload and template, or of a task above: who opened beneath it before it deviated gains nothing by that.
create function is_quarantined(of_template text, of_issuer text, of_subject text, parent uuid) returns boolean
language sql stable as $$
  select exists (select from quarantine q where q.template = of_template and q.workload_issuer = of_issuer
    and q.workload_subject = of_subject and q.until > clock_timestamp())
  or (parent is not null and exists (
    with recursive up as (
      select t.id, t.parent_id, t.template, t.workload_issuer, t.workload_subject from task t where t.id = parent union all
      select t.id, t.parent_id, t.template, t.workload_issuer, t.workload_subject from task t join up on t.id = up.parent_id
    )
    select from up join quarantine q using (template, workload_issuer, workload_subject) where q.until > clock_timestamp()))
$$;

-- Raises the epoch, so that every intent decided before is decided again. A second freeze of the same keeps its time.
create function set_freeze(of_scope text, of_name text, why text, is_on boolean, e jsonb) returns void language plpgsql as $$
begin
  update config_epoch set epoch = epoch + 1;
  if is_on then
    insert into frozen (scope, name, reason) values (of_scope, of_name, why)
    on conflict (scope, name) do update set reason = excluded.reason;
  else
    delete from frozen where scope = of_scope and name = of_name;
  end if;
  perform append_audit(e);
end $$;

-- One step on, unless this database is older than its caller has seen: then nothing is issued from here on, by anybody.
create function advance_mark(known jsonb, e jsonb) returns jsonb language plpgsql as $$
declare
  c config_epoch;
begin
  select * into c from config_epoch for update;
  if c.recovery is null then
    if needs_recovery(c, known) then perform require_recovery('older', e);
    else update config_epoch set mark = mark + 1;
    end if;
  end if;
  select * into c from config_epoch;
  return jsonb_build_object('installation', c.installation, 'recovered', c.recovered, 'mark', c.mark, 'recovery', c.recovery);
end $$;

-- `older`: than was known; `moved`: into another cluster by a dump; `asked`: by a person.
create function require_recovery(why text, e jsonb) returns boolean language plpgsql as $$
begin
  update config_epoch set recovery = why where recovery is null;
  if found then perform append_audit(e); end if;
  return found;
end $$;

-- The end of `mayfly recover`: false while a task is still open. Replicas may hold policy of any epoch that was ever
-- known, so that the new one lies above all of them; whoever was signed in signs in again.
create function finish_recovery(e jsonb) returns boolean language plpgsql as $$
declare
  at bigint := (extract(epoch from clock_timestamp()) * 1000)::bigint;
begin
  if exists (select from task where state in ('open', 'suspended')) then return false; end if;
  update config_epoch set recovery = null, mark = 0, recovered = greatest(at, recovered + 1), epoch = greatest(at, epoch + 1)
  where recovery is not null;
  if not found then return true; end if;
  update installation set system_identifier = (select s.system_identifier::text from pg_control_system() s);
  delete from sign_in;
  perform append_audit(e);
  return true;
end $$;

-- Drained: no intent beneath it is under way, seen after every transaction that may not have seen the freeze.
create function freeze_status() returns table (scope text, name text, reason text, at timestamptz, drained boolean)
language sql stable as $$
  select f.scope, f.name, f.reason, f.at, pg_snapshot_xmin(pg_current_snapshot()) > f.xid and not exists (
    select from work w join task t on t.id = w.task_id
    where w.state = 'intended' and case f.scope
      when 'all' then true when 'template' then t.template = f.name when 'issuer' then t.workload_issuer = f.name
      else w.lane = f.name end)
  from frozen f order by f.scope, f.name
$$;

-- Task, grants, limits. Answers {"kind": "opened" | "ref_taken" | "stale" | "refused"}.
create function open_task(o jsonb, known_epoch bigint) returns jsonb language plpgsql as $$
declare
  c config_epoch;
  t jsonb := o->'task';
  g jsonb;
  hour_scope bytea := decode(o->>'openScope', 'hex');
  hour timestamptz := date_trunc('hour', clock_timestamp());
  next_beat timestamptz := clock_timestamp() + make_interval(secs => (t->>'leaseSeconds')::int);
  opened integer;
  refused text;
begin
  if t->>'parentId' is not null then
    refused := refuse_child((t->>'parentId')::uuid, (o->>'childrenMax')::int);
    if refused is not null then return jsonb_build_object('kind', 'refused', 'reason', refused); end if;
  end if;
  select * into c from config_epoch;
  if needs_recovery(c, o->'known') then return jsonb_build_object('kind', 'refused', 'reason', 'recovery_required'); end if;
  if c.epoch <> known_epoch then return jsonb_build_object('kind', 'stale', 'epoch', c.epoch, 'generation', null); end if;
  if is_frozen(t->>'template', t->>'workloadIssuer') then return jsonb_build_object('kind', 'refused', 'reason', 'frozen'); end if;
  if exists (select from quarantine) and is_quarantined(t->>'template', t->>'workloadIssuer', t->>'workloadSubject', (t->>'parentId')::uuid) then
    return jsonb_build_object('kind', 'refused', 'reason', 'quarantined');
  end if;
  if exists (select from subject_cut) and is_cut(o->'attested') then
    return jsonb_build_object('kind', 'refused', 'reason', 'session_revoked');
  end if;
  -- The counter row is the lock under which open tasks of this workload and template are counted.
  insert into counter (scope, window_start, n) values (hour_scope, hour, 0) on conflict do nothing;
  select n into opened from counter where scope = hour_scope and window_start = hour for update;
  if opened >= (o->>'opensPerHour')::int then
    return jsonb_build_object('kind', 'refused', 'reason', 'rate_limited', 'retryAfterSeconds',
      ceil(extract(epoch from hour + interval '1 hour' - clock_timestamp())));
  end if;
  if (o->>'maxOpen') is not null and (
    select count(*) from task where template = t->>'template' and limit_key = decode(o->>'limitKey', 'hex')
      and state in ('open', 'suspended')
  ) >= (o->>'maxOpen')::int then
    return jsonb_build_object('kind', 'refused', 'reason', 'too_many_open_tasks');
  end if;
  insert into task (id, template, template_version, ref, params, objective, workload_issuer, workload_iss, workload_subject, claims,
    owner, owner_key, limit_key, opener, actors, confirmation, parent_id, depth_left, ends_on_change, on_lapse, opened_at, attested_at, lease_seconds, lease_until, silent_at, expires_at)
  values ((t->>'id')::uuid, t->>'template', (t->>'templateVersion')::int, t->>'ref', t->'params', t->>'objective',
    t->>'workloadIssuer', t->>'workloadIss', t->>'workloadSubject', t->'claims', t->>'owner', decode(o->>'ownerKey', 'hex'),
    decode(o->>'limitKey', 'hex'), nullif(t->'opener', 'null'), t->'actors', nullif(t->'confirmation', 'null'), (t->>'parentId')::uuid, (t->>'depthLeft')::int,
    (o->>'endsOnChange')::boolean, o->>'onLapse', (t->>'openedAt')::timestamptz,
    attested_at(t, o->'attested'), (t->>'leaseSeconds')::int,
    case when o->>'onLapse' = 'note' then (t->>'expiresAt')::timestamptz else next_beat end,
    case when o->>'onLapse' = 'note' then next_beat end, (t->>'expiresAt')::timestamptz)
  on conflict do nothing;
  if not found then return jsonb_build_object('kind', 'ref_taken'); end if;
  for g in select jsonb_array_elements(t->'grants') loop
    insert into task_grant (id, task_id, name, tool, provider, access, resource, actions, mint, ttl_default, ttl_max,
      ends_within, exchanges_max, per_minute, above)
    values ((g->>'id')::uuid, (t->>'id')::uuid, g->>'name', g->>'tool', g->>'provider', g->>'access', g->>'resource',
      array(select jsonb_array_elements_text(g->'actions')), g->'mint', (g->>'ttlDefault')::int,
      (g->>'ttlMax')::int, (g->>'endsWithin')::int, (g->>'exchangesMax')::int, (g->>'perMinute')::int,
      array(select jsonb_array_elements_text(g->'above')::uuid));
  end loop;
  update counter set n = n + 1 where scope = hour_scope and window_start = hour;
  insert into work (id, kind, state, due_at) values ((t->>'id')::uuid, 'task', 'task',
    least(next_beat, (t->>'expiresAt')::timestamptz));
  perform append_audit(o->'audit');
  return jsonb_build_object('kind', 'opened');
end $$;

-- Limits per minute outlive tasks: one counter per workload, template and grant name.
create function minute_scope(limit_key bytea, template text, grant_name text) returns bytea language sql immutable as $$
  select sha256(convert_to(jsonb_build_array('perMinute', encode(limit_key, 'hex'), template, grant_name)::text, 'UTF8'))
$$;

-- What one exchange of this grant counts against: its own limit and those of the grants above it.
create function minute_limits(g task_grant, t task) returns table (key bytea, most integer) language sql stable as $$
  select l.key, min(l.most) from (
    select minute_scope(t.limit_key, t.template, g.name), g.per_minute union all
    select minute_scope(x.limit_key, x.template, a.name), a.per_minute
    from task_grant a join task x on x.id = a.task_id where a.id = any(g.above)
  ) l(key, most) where l.most is not null group by l.key
$$;

-- As `use_once`, for uses that the batch has written already: `held` are those of them that nobody has used before.
create function refuse_held(uses jsonb, held bytea[]) returns text language sql immutable as $$
  select value->>'replayed' from (
    select value, row_number() over (partition by value->>'digest') as nth from jsonb_array_elements(uses)
  ) u where nth > 1 or not decode(value->>'digest', 'hex') = any(held) order by value->>'digest' limit 1
$$;

-- Everything that can change between decision and commit, checked under the grant lock; then replay key, budget,
-- issuance and audit. A refusal leaves nothing behind. `record.local`: delivered in the same statement.
create function settle_intent(i jsonb, held bytea[] default null) returns jsonb language plpgsql as $$
declare
  r jsonb := i->'record';
  agent boolean := r->>'purpose' = 'agent';
  g task_grant;
  t task;
  c config_epoch;
  opened jsonb;
  minute timestamptz;
  minute_keys bytea[] := '{}';
  one record;
  in_minute integer;
  spent boolean := false;
  earlier uuid;
  idem bytea := decode(i->>'idempotencyDigest', 'hex');
  refused text;
begin
  if jsonb_typeof(i->'opening') = 'object' then
    opened := open_task(i->'opening', (i->>'epoch')::bigint);
    if opened->>'kind' <> 'opened' then return opened; end if;
  end if;
  -- Those above come first: every lock of grants is taken in the order of their ids.
  if jsonb_array_length(i->'above') > 0 then
    perform 1 from task_grant where id in (select jsonb_array_elements_text(i->'above')::uuid) order by id for no key update;
  end if;
  select * into g from task_grant where id = (r->>'grantId')::uuid for no key update;
  select * into c from config_epoch;
  -- Before anything that the older state says of the task.
  if needs_recovery(c, i->'known') then return jsonb_build_object('kind', 'refused', 'reason', 'recovery_required'); end if;
  if g.id is null then return jsonb_build_object('kind', 'refused', 'reason', 'task_unknown'); end if;
  -- A template that was narrowed since counts for open tasks too.
  g.exchanges_max := least(g.exchanges_max, (i->>'exchangesMax')::int);
  g.per_minute := least(g.per_minute, (i->>'perMinute')::int);
  select * into t from task where id = g.task_id;
  if t.parent_id is not null then
    refused := refuse_task(t.id);
    if refused is not null then return jsonb_build_object('kind', 'refused', 'reason', refused); end if;
  elsif t.expires_at > clock_timestamp()
    and (t.state = 'suspended' or (t.state = 'open' and t.on_lapse = 'suspend' and t.lease_until <= clock_timestamp())) then
    return jsonb_build_object('kind', 'refused', 'reason', coalesce(refuse_task(t.id), 'task_suspended'));
  elsif t.state <> 'open' or t.expires_at <= clock_timestamp() or t.lease_until <= clock_timestamp() then
    return jsonb_build_object('kind', 'refused', 'reason', 'task_ended');
  end if;
  if g.state <> 'active' then return jsonb_build_object('kind', 'refused', 'reason', 'grant_ended'); end if;
  if cardinality(g.above) > 0 then
    if exists (select from task_grant a where a.id = any(g.above) and a.state = 'ended') then
      return jsonb_build_object('kind', 'refused', 'reason', 'grant_ended');
    end if;
    spent := exists (select from task_grant a where a.id = any(g.above) and a.uses >= a.exchanges_max);
  end if;
  if c.epoch <> (i->>'epoch')::bigint or g.generation <> (i->>'generation')::int then
    return jsonb_build_object('kind', 'stale', 'epoch', c.epoch, 'generation', g.generation);
  end if;
  if is_frozen(t.template, t.workload_issuer, g.provider) then return jsonb_build_object('kind', 'refused', 'reason', 'frozen'); end if;
  if exists (select from quarantine) and is_quarantined(t.template, t.workload_issuer, t.workload_subject, t.parent_id) then
    return jsonb_build_object('kind', 'refused', 'reason', 'quarantined');
  end if;
  if exists (select from subject_cut) and (is_task_cut(t.id) or is_cut(i->'attested')) then
    return jsonb_build_object('kind', 'refused', 'reason', 'session_revoked');
  end if;
  if agent then
    if idem is not null then
      select issuance_id into earlier from idempotency where digest = idem and expires_at > clock_timestamp();
      if found then return jsonb_build_object('kind', 'already_issued', 'issuanceId', earlier); end if;
    end if;
    if spent or g.uses >= g.exchanges_max then return jsonb_build_object('kind', 'refused', 'reason', 'budget_spent'); end if;
    if g.per_minute is not null or cardinality(g.above) > 0 then
      minute := date_trunc('minute', clock_timestamp());
      for one in select * from minute_limits(g, t) order by key loop
        insert into counter (scope, window_start, n) values (one.key, minute, 0) on conflict do nothing;
        select n into in_minute from counter where scope = one.key and window_start = minute for update;
        if in_minute >= one.most then
          return jsonb_build_object('kind', 'refused', 'reason', 'rate_limited', 'retryAfterSeconds',
            ceil(extract(epoch from minute + interval '1 minute' - clock_timestamp())));
        end if;
        minute_keys := minute_keys || one.key;
      end loop;
    end if;
    refused := case when held is null then use_once(i->'uses') else coalesce(refuse_older(i->'uses'), refuse_held(i->'uses', held)) end;
    if refused is not null then return jsonb_build_object('kind', 'refused', 'reason', refused); end if;
    if idem is not null then
      delete from idempotency where digest = idem and expires_at <= clock_timestamp();
      insert into idempotency (digest, issuance_id, expires_at)
      values (idem, (r->>'id')::uuid, clock_timestamp() + interval '24 hours') on conflict do nothing;
      if not found then
        -- Another request with this key committed while we looked: give back what was used.
        if held is null then delete from replay where digest = any(digests_of(i->'uses')); end if;
        select issuance_id into earlier from idempotency where digest = idem;
        return jsonb_build_object('kind', 'already_issued', 'issuanceId', earlier);
      end if;
    end if;
    update task_grant set uses = uses + 1 where id = any(g.above || g.id);
    if cardinality(minute_keys) > 0 then
      update counter set n = n + 1 where scope = any(minute_keys) and window_start = minute;
    end if;
  end if;
  perform insert_issuance(r);
  perform append_audit(i->'audit');
  if (r->>'local')::boolean then
    perform append_audit(i->'delivered');
  else
    insert into work (id, kind, lane, task_id, intended_at, state, due_at, not_after, reach, ends_by)
    values ((r->>'id')::uuid, 'issuance', r->>'provider', g.task_id, uuid_time((r->>'id')::uuid), 'intended',
      clock_timestamp() + make_interval(secs => (i->>'reapAgeSeconds')::float), (r->>'notAfter')::timestamptz, r->>'reach',
      r->>'endsBy');
  end if;
  return jsonb_build_object('kind', 'intended');
end $$;

create function renewed_lease(t task) returns timestamptz language sql volatile as $$
  select case t.on_lapse when 'note' then t.expires_at else clock_timestamp() + make_interval(secs => t.lease_seconds) end
$$;

create function next_silence(t task) returns timestamptz language sql volatile as $$
  select case t.on_lapse when 'note' then clock_timestamp() + make_interval(secs => t.lease_seconds) end
$$;

-- A lease is written at most eight times per its length: the row is otherwise left alone. A lapsed one stays lapsed.
create function renew_lease(task uuid) returns void language sql as $$
  update task t set lease_until = renewed_lease(t), silent_at = next_silence(t)
  where t.id = renew_lease.task and t.state = 'open' and t.lease_until > clock_timestamp()
    and case t.on_lapse when 'note' then coalesce(t.silent_at, t.opened_at) else t.lease_until end
      < clock_timestamp() + make_interval(secs => t.lease_seconds * 0.875)
$$;

create function intend(i jsonb) returns jsonb language plpgsql as $$
declare
  result jsonb := settle_intent(i);
begin
  if result->>'kind' = 'intended' and (i->'record'->>'local')::boolean then
    perform renew_lease((i->'record'->>'taskId')::uuid);
  end if;
  return result;
end $$;

-- An opening that is refused after its rows were written must leave none: the whole statement is undone.
create function intend_opening(i jsonb) returns jsonb language plpgsql as $$
declare
  result jsonb := intend(i);
begin
  if result->>'kind' <> 'intended' then
    raise exception using errcode = 'MF001', message = 'mayfly: refused', detail = result::text;
  end if;
  return result;
end $$;

-- Many intents at once. The locks of all are taken first, each kind in its order; one item after another would take
-- grant, counter, replay key, grant, and meet another batch half-way.
create function intend_batch(items jsonb) returns jsonb language plpgsql as $$
declare
  grant_ids uuid[] := array(
    select (x->'record'->>'grantId')::uuid from jsonb_array_elements(items) x union
    select a::uuid from jsonb_array_elements(items) x, jsonb_array_elements_text(x->'above') a);
  minute timestamptz := date_trunc('minute', clock_timestamp());
  minute_keys bytea[];
  item record;
  held bytea[];
  renewed uuid;
  results jsonb[] := array_fill(null::jsonb, array[jsonb_array_length(items)]);
begin
  perform 1 from task_grant where id = any(grant_ids) order by id for no key update;
  minute_keys := array(
    select distinct minute_scope(t.limit_key, t.template, g.name) from task_grant g join task t on t.id = g.task_id
    where g.id = any(grant_ids) and g.per_minute is not null);
  if cardinality(minute_keys) > 0 then
    insert into counter (scope, window_start, n)
    select k, minute, 0 from unnest(minute_keys) k order by k on conflict do nothing;
    perform 1 from counter where scope = any(minute_keys) and window_start = minute order by scope for update;
  end if;
  -- What works once is written for all items in one order too; each item then takes its own, and the rest is given back.
  with written as (
    insert into replay (digest, expires_at)
    select decode(u->>'digest', 'hex'), max((u->>'expiresAt')::timestamptz)
    from jsonb_array_elements(items) x, jsonb_array_elements(x->'uses') u group by u->>'digest' order by u->>'digest'
    on conflict do nothing returning digest
  )
  select coalesce(array_agg(digest), '{}') into held from written;
  for item in select x, n from jsonb_array_elements(items) with ordinality as o(x, n) order by n loop
    results[item.n] := settle_intent(item.x, held);
    if results[item.n]->>'kind' = 'intended' and jsonb_array_length(item.x->'uses') > 0 then
      held := array(select d from unnest(held) d where d <> all(digests_of(item.x->'uses')));
    end if;
  end loop;
  if cardinality(held) > 0 then delete from replay where digest = any(held); end if;
  for renewed in
    select distinct (x->'record'->>'taskId')::uuid as id from jsonb_array_elements(items) with ordinality as o(x, n)
    where results[n]->>'kind' = 'intended' order by id
  loop
    perform renew_lease(renewed);
  end loop;
  return to_jsonb(results);
end $$;

-- False: reaped, or the reap deadline has passed; the credential must not be answered.
create function deliver(d jsonb) returns boolean language plpgsql as $$
declare
  w work;
  item uuid := (d->>'issuanceId')::uuid;
begin
  select task_id into w.task_id from work where id = item;
  if w.task_id is not null then perform renew_lease(w.task_id); end if;
  update work set state = 'delivered', due_at = not_after, attempts = 0
  where id = item and state = 'intended' and due_at > clock_timestamp() returning * into w;
  if not found then return false; end if;
  insert into issuance_delivery (issuance_id, intended_at, key_hash, expires_at)
  values (item, w.intended_at, d->>'keyHash', (d->>'expiresAt')::timestamptz);
  perform append_audit(d->'audit');
  return true;
end $$;

-- `sight`: what the refusal means for a task; answers what was done about it.
create function refuse(r jsonb, e jsonb, sight jsonb) returns text language plpgsql as $$
begin
  perform insert_issuance(r);
  perform append_audit(e);
  return see_task(sight);
end $$;

create function signal_task(e jsonb, sight jsonb) returns text language plpgsql as $$
begin
  perform append_audit(e);
  return see_task(sight);
end $$;

-- One sight of a live task off its path. Counted under its grant locks, so that of several at once each counts those
-- before it; enough of them, and the task is noted, suspended or ended in this very statement.
create function see_task(sight jsonb) returns text language plpgsql as $$
declare
  one uuid := (sight->>'taskId')::uuid;
  reached jsonb;
  seen uuid[];
begin
  if sight is null then return null; end if;
  perform 1 from task_grant where task_id = one order by id for no key update;
  if refuse_task(one) is not null then return null; end if;
  if exists (select from sighting s where s.task_id = one and s.rule = sight->>'rule' and s.what = decode(sight->>'what', 'hex')
    and s.at > clock_timestamp() - make_interval(secs => (sight->>'retrySeconds')::int)) then return null; end if;
  insert into sighting (task_id, rule, evidence, what)
  values (one, sight->>'rule', (sight->>'evidence')::uuid, decode(sight->>'what', 'hex'));
  select l into reached from jsonb_array_elements(sight->'limits') l
  where (l->>'after')::int <= (select count(*) from sighting s where s.task_id = one and s.rule = sight->>'rule' and not s.told
    and s.at > clock_timestamp() - make_interval(secs => (l->>'withinSeconds')::int))
  order by array_position(array['end', 'suspend', 'note'], l->>'act'), (l->>'withinSeconds')::int desc limit 1;
  if reached is null then return null; end if;
  with named as (
    update sighting s set told = true
    where s.task_id = one and s.rule = sight->>'rule' and not s.told
      and s.at > clock_timestamp() - make_interval(secs => (reached->>'withinSeconds')::int)
    returning s.evidence
  )
  select array_agg(evidence order by evidence) into seen from named;
  perform act_on_deviation(sight, reached->>'act', seen);
  return reached->>'act';
end $$;

-- One event with its evidence, and what it did.
create function act_on_deviation(sight jsonb, act text, seen uuid[]) returns void language plpgsql as $$
declare
  one uuid := (sight->>'taskId')::uuid;
  keep integer := case when act <> 'note' then (sight->>'quarantineSeconds')::int end;
  reason text := 'deviation: ' || (sight->>'rule');
  e jsonb := with_body(sight->'audit', format('{"act":%s,"evidence":%s,"quarantineSeconds":%s,"rule":%s}', to_json(act),
    replace(to_json(seen)::text, ' ', ''), coalesce(keep::text, 'null'), to_json(sight->>'rule')));
begin
  case act
    when 'note' then perform append_audit(e);
    when 'suspend' then perform suspend_task(one, jsonb_build_object('reason', reason, 'audit', e, 'beneath', 'task.suspended'));
    when 'end' then perform close_task(one,
      jsonb_build_object('state', 'deviated', 'reason', reason, 'audit', e, 'beneath', 'task.ended'));
  end case;
  if keep is not null then
    insert into quarantine (template, workload_issuer, workload_subject, until, task_id)
    select t.template, t.workload_issuer, t.workload_subject, clock_timestamp() + make_interval(secs => keep), t.id
    from task t where t.id = one
    on conflict (template, workload_issuer, workload_subject)
    do update set until = greatest(quarantine.until, excluded.until), task_id = excluded.task_id;
  end if;
end $$;

-- A claim moves due_at by a backoff with jitter, so that a crashed claimer's rows come back by themselves.
-- Lanes at which something is due: one probe of the index per lane, however much is outstanding.
-- Each lane's first row by the index: a mere question whether one is due lets the planner read all that is not.
create function due_lanes() returns setof text language sql stable as $$
  with recursive lanes as (
    (select w.lane from work w order by w.lane limit 1)
    union all
    select (select w.lane from work w where w.lane > l.lane order by w.lane limit 1) from lanes l where l.lane is not null
  )
  select l.lane from lanes l
  where l.lane is not null and (select w.due_at from work w where w.lane = l.lane order by w.due_at limit 1) <= clock_timestamp()
$$;

-- What the reaper has before it, by lane: probes of two indexes, and counts that stop at 10,000. The clock is read in a
-- sub-select here and below: a volatile call bounds no index scan, and without an order the planner may take none.
create function queue_status() returns table (
  lane text, due integer, lag_seconds float8, unconfirmed integer, oldest_seconds float8, irrevocable integer
) language sql stable as $$
  select l, (select count(*) from (select from work w where w.lane = l and w.due_at <= (select clock_timestamp()) order by w.due_at limit 10000) d)::int,
    (select extract(epoch from clock_timestamp() - w.due_at) from work w
     where w.lane = l and w.due_at <= (select clock_timestamp()) order by w.due_at limit 1)::float8,
    u.n, u.oldest, r.n
  from (select due_lanes() union select '') x(l), (
    select count(*)::int as n, extract(epoch from clock_timestamp() - min(requested_at))::float8 as oldest from (
      select requested_at from work w where w.requested_at is not null and w.state = 'revoking' and w.ends_by <> 'expired'
      order by w.requested_at limit 10000) asked
  ) u, (
    select count(*) filter (where state = 'revoking' and ends_by = 'expired')::int as n from (
      select state, ends_by from work w where w.requested_at is not null order by w.requested_at limit 10000) asked
  ) r
$$;

create function claim_work(of_lane text, most integer) returns table (
  id uuid, kind text, state text, attempts integer, plan jsonb, seconds_past double precision
) language sql as $$
  with d as (
    select w.id from work w where w.lane = of_lane and w.due_at <= (select clock_timestamp())
    order by w.due_at limit most for update skip locked
  ), u as (
    update work w set attempts = w.attempts + 1,
      state = case w.state when 'intended' then 'reaped' else w.state end,
      due_at = clock_timestamp()
        + make_interval(secs => least(60, power(2, least(w.attempts, 6))) * (0.5 + random() / 2))
    from d where w.id = d.id
    returning w.*
  )
  select u.id, u.kind, u.state, u.attempts, i.plan, extract(epoch from clock_timestamp() - u.not_after)::float8
  from u left join issuance i on i.id = u.id and i.intended_at = u.intended_at
$$;

create function settle_work(ends jsonb) returns void language plpgsql as $$
declare
  e jsonb;
  w work;
begin
  for e in select value from jsonb_array_elements(ends) value order by value->>'issuanceId' loop
    delete from work where id = (e->>'issuanceId')::uuid returning * into w;
    -- Settled by another replica meanwhile: one end, one audit row.
    continue when not found;
    insert into issuance_end (issuance_id, intended_at, method, requested_at, evidence)
    values (w.id, w.intended_at, e->>'method', w.requested_at, e->'evidence');
    perform append_audit(e->'audit');
  end loop;
end $$;

-- A due task: re-armed while its lease and life lie ahead. A suspended task keeps no lease. `silence`: the event of a
-- task that is silent and lives on, which is told once.
create function task_due(task uuid, silence jsonb) returns text language plpgsql as $$
declare
  t task;
  next_due timestamptz;
begin
  select * into t from task where id = task_due.task;
  if not found or t.state not in ('open', 'suspended') then
    delete from work where id = task_due.task and kind = 'task';
    return 'gone';
  end if;
  if t.expires_at <= clock_timestamp() then return 'expired'; end if;
  if t.state = 'open' and t.lease_until <= clock_timestamp() then
    return case when t.on_lapse = 'suspend' then 'lapsed' else 'abandoned' end;
  end if;
  if t.state = 'open' and t.silent_at <= clock_timestamp() then
    update task set silent_at = null where id = task_due.task and silent_at <= clock_timestamp();
    if found then perform append_audit(silence); end if;
  end if;
  next_due := case t.state when 'open' then least(t.lease_until, t.expires_at, next_silence(t)) else t.expires_at end;
  update work set due_at = next_due, attempts = 0 where id = task_due.task and kind = 'task';
  return 'rearmed';
end $$;

-- Tasks and every one beneath them. Called again until they grow no more, while the grants of those known are locked:
-- opening a child takes a grant lock of its parent.
create function trees_of(roots uuid[]) returns uuid[] language sql stable as $$
  with recursive tree as (
    select unnest(roots) as id union select t.id from task t join tree on t.parent_id = tree.id
  )
  select coalesce(array_agg(id order by id), '{}') from tree
$$;

create function lock_trees(roots uuid[]) returns uuid[] language plpgsql as $$
declare
  known uuid[] := trees_of(roots);
  again uuid[];
begin
  loop
    perform 1 from task_grant where task_id = any(known) order by id for update;
    again := trees_of(roots);
    exit when cardinality(again) = cardinality(known);
    known := again;
  end loop;
  return known;
end $$;

create function uuid_v7() returns uuid language sql volatile as $$
  select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(r, 14, 3)
    || substr(r, 17))::uuid from (select translate(gen_random_uuid()::text, '-', '') as r) random
$$;

-- The event with another body. The text is canonical (RFC 8785): keys in order, no space, and to_json escapes text as
-- JSON.stringify does; so must the body be.
create function with_body(e jsonb, body text) returns jsonb language sql stable as $$
  select e || jsonb_build_object('canonical', format(
    '{"actor":%s,"at":%s,"body":%s,"id":%s,"issuanceId":%s,"taskId":%s,"type":%s}',
    coalesce(to_json(e->>'actor')::text, 'null'), to_json(e->>'at'), body, to_json(e->>'id'),
    coalesce(to_json(e->>'issuanceId')::text, 'null'), to_json(e->>'taskId'), to_json(e->>'type')))
$$;

-- What happened to a task beneath because of the one above: the event `e` of that one, said of this task.
create function append_derived(e jsonb, task uuid, reason text, state text, type text default null) returns void language sql as $$
  select append_audit(with_body(
    e || jsonb_build_object('id', uuid_v7(), 'taskId', task, 'issuanceId', null, 'type', coalesce(append_derived.type, e->>'type')),
    format('{"parent":%s,"reason":%s,"state":%s}', to_json(e->>'taskId'), to_json(reason), to_json(state))))
$$;

-- Separate statements: grants, then the tasks, then, with a fresh snapshot, the issuances (docs/architecture.md, races).
-- `lapsed`: the reaper's ends hold only while the lease has really lapsed, seen under the locks.
create function close_task(task uuid, e jsonb) returns boolean language plpgsql as $$
declare
  tree uuid[] := lock_trees(array[task]);
  to_state text := e->>'state';
  beneath uuid;
begin
  update task t set state = to_state, state_reason = e->>'reason',
    outcome = case when to_state in ('completed', 'failed', 'cancelled') then to_state end, ended_at = clock_timestamp()
  where t.id = close_task.task and t.state in ('open', 'suspended')
    and (to_state <> 'abandoned' or (t.state = 'open' and t.lease_until <= clock_timestamp()));
  if not found then return false; end if;
  perform append_audit(e->'audit');
  for beneath in
    update task t set state = 'cancelled', state_reason = 'parent task ended', outcome = 'cancelled', ended_at = clock_timestamp()
    where t.id = any(tree) and t.id <> close_task.task and t.state in ('open', 'suspended') returning t.id
  loop
    perform append_derived(e->'audit', beneath, 'parent task ended', 'cancelled', e->>'beneath');
  end loop;
  update task_grant set state = 'ended', ended_at = clock_timestamp() where task_id = any(tree) and state <> 'ended';
  perform take_back(tree);
  delete from work where id = any(tree) and kind = 'task';
  delete from sighting where task_id = any(tree);
  return true;
end $$;

-- Many ends, each as above. The locks of all are taken first, each kind in the order of ids, as everyone else takes them:
-- one tree after another would meet another batch half-way.
create function close_tasks(ends jsonb) returns void language plpgsql as $$
declare
  trees uuid[] := lock_trees(array(select (value->>'id')::uuid from jsonb_array_elements(ends)));
  e jsonb;
begin
  perform 1 from task where id = any(trees) order by id for no key update;
  perform 1 from work where task_id = any(trees) order by id for no key update;
  for e in select value from jsonb_array_elements(ends) value order by value->>'id' loop
    perform close_task((e->>'id')::uuid, e);
  end loop;
end $$;

create function take_back(tasks uuid[]) returns void language sql as $$
  update work set requested_at = clock_timestamp(), due_at = clock_timestamp(), attempts = 0,
    state = case state when 'intended' then 'reaped' else 'revoking' end
  where task_id = any(tasks) and kind = 'issuance' and state in ('intended', 'delivered')
$$;

-- Ends one grant and those that lie within it. False when it had ended.
create function close_grant(one uuid, e jsonb) returns boolean language plpgsql as $$
declare
  g task_grant;
  tree uuid[];
  closed uuid[];
begin
  select * into g from task_grant where id = one;
  if not found then return false; end if;
  tree := lock_trees(array[g.task_id]);
  update task_grant set state = 'ended', ended_at = clock_timestamp() where id = one and state <> 'ended';
  if not found then return false; end if;
  perform append_audit(e);
  with beneath as (
    update task_grant x set state = 'ended', ended_at = clock_timestamp()
    where x.task_id = any(tree) and x.state <> 'ended' and one = any(x.above)
    returning x.id
  )
  select array_agg(id) || one into closed from beneath;
  update work w set requested_at = clock_timestamp(), due_at = clock_timestamp(), attempts = 0,
    state = case w.state when 'intended' then 'reaped' else 'revoking' end
  from issuance i
  where w.task_id = any(tree) and w.kind = 'issuance' and w.state in ('intended', 'delivered')
    and i.id = w.id and i.intended_at = w.intended_at and i.grant_id = any(closed);
  return true;
end $$;

-- What a revocation has yet to end: tasks, or grants whose tasks live on. One index for each kind of name.
create function revocation_targets(scope text, name text, before timestamptz, most integer)
returns table (kind text, id uuid) language plpgsql stable as $$
#variable_conflict use_column
declare
  of_name text := revocation_targets.name;
  issuer text := split_part(of_name, '/', 1);
  subject text := substr(of_name, length(issuer) + 2);
begin
  case revocation_targets.scope
    when 'task' then return query select 'task', t.id from task t
      where t.id = of_name::uuid and t.state in ('open', 'suspended');
    when 'template' then return query select 'task', t.id from task t
      where t.template = of_name and t.state in ('open', 'suspended') and t.stored_at < before limit most;
    when 'issuer' then return query select 'task', t.id from task t
      where t.workload_issuer = of_name and t.state in ('open', 'suspended') and t.stored_at < before limit most;
    when 'workload' then return query select 'task', t.id from task t
      where t.workload_issuer = issuer and t.workload_subject = subject and t.state in ('open', 'suspended')
        and t.stored_at < before limit most;
    -- Not by when they were stored: one that was stored late was opened with an assertion from before all the same.
    when 'session' then return query select 'task', t.id from task t
      where t.state in ('open', 'suspended') and (t.attested_at is null or t.attested_at <= before)
        and (t.workload_issuer = issuer and t.workload_subject = subject
          or t.actors <> '[]' and t.actors @> jsonb_build_array(jsonb_build_object('issuerName', issuer, 'subject', subject)))
      limit most;
    when 'grant' then return query select 'grant', g.id from task_grant g
      where g.id = of_name::uuid and g.state <> 'ended';
    when 'provider' then return query select 'grant', g.id from task_grant g join task t on t.id = g.task_id
      where g.provider = of_name and g.state <> 'ended' and t.stored_at < before limit most;
  end case;
end $$;

-- Live tasks of the subject, or in which it acts, in the order of their ids.
create function tasks_of(of_issuer text, of_subject text, after uuid, most integer) returns setof uuid language sql stable as $$
  select t.id from task t
  where t.state in ('open', 'suspended') and (tasks_of.after is null or t.id > tasks_of.after)
    and (t.workload_issuer = of_issuer and t.workload_subject = of_subject
      or t.actors <> '[]' and t.actors @> jsonb_build_array(jsonb_build_object('issuerName', of_issuer, 'subject', of_subject)))
  order by t.id limit most
$$;

create function insert_revocation(r jsonb) returns integer language plpgsql as $$
declare
  made revocation;
begin
  insert into revocation (id, scope, name, attested_before, reason, requested_by)
  values ((r->>'id')::uuid, r->>'by', r->>'name', (r->>'attestedBefore')::timestamptz, r->>'reason', r->>'requestedBy')
  returning * into made;
  update revocation set total = (
    select count(*) from revocation_targets(made.scope, made.name, coalesce(made.attested_before, made.requested_at), null))
  where id = made.id returning total into made.total;
  return made.total;
end $$;

create function request_revocation(r jsonb, e jsonb) returns void language plpgsql as $$
begin
  perform insert_revocation(r);
  perform append_audit(e);
end $$;

-- Those of one transmitter one after another, so that each counts against the limit what those before it were to end.
create function receive_event(v jsonb, e jsonb) returns jsonb language plpgsql as $$
declare
  r jsonb;
  cut jsonb := nullif(v->'cut', 'null');
  ended integer := 0;
  minute record;
begin
  perform pg_advisory_xact_lock(hashtextextended('security_event ' || (v->>'issuerName'), 0));
  if exists (select from security_event where id = decode(v->>'id', 'hex')) then return '{"kind": "seen"}'; end if;
  for r in select jsonb_array_elements(v->'revocations') loop
    ended := ended + insert_revocation(r);
  end loop;
  select coalesce(sum(s.ends), 0) as ends, min(s.received_at) as since into minute from security_event s
  where s.issuer = v->>'issuerName' and s.ends > 0 and s.received_at > clock_timestamp() - interval '1 minute';
  if ended > 0 and minute.ends > 0 and minute.ends + ended > (v->>'endsPerMinute')::int then
    raise exception using errcode = 'MF002', message = 'mayfly: limited';
  end if;
  perform 1 from task where id in (select (x->>'name')::uuid from jsonb_array_elements(v->'revocations') x where x->>'by' = 'task')
  order by id for no key update;
  update task set is_cut = true
  where id in (select (x->>'name')::uuid from jsonb_array_elements(v->'revocations') x where x->>'by' = 'task');
  insert into security_event (id, issuer, ends) values (decode(v->>'id', 'hex'), v->>'issuerName', ended);
  if cut is not null then
    insert into subject_cut as s (issuer, subject, before, tasks_before, until)
    values (cut->>'issuerName', cut->>'subject', (cut->>'before')::timestamptz,
      case when (cut->>'withTasks')::boolean then (cut->>'before')::timestamptz end, (cut->>'until')::timestamptz)
    on conflict (issuer, subject)
    do update set before = greatest(s.before, excluded.before), until = greatest(s.until, excluded.until),
      tasks_before = greatest(s.tasks_before, excluded.tasks_before);
  end if;
  perform append_audit(e);
  return '{"kind": "received"}';
exception when sqlstate 'MF002' then
  return jsonb_build_object('kind', 'limited', 'retryAfterSeconds',
    ceil(extract(epoch from minute.since + interval '1 minute' - clock_timestamp())));
end $$;

-- Waits until every transaction is over that may not have seen the event: one of them may be storing a task. After a
-- restore the numbers of transactions begin anew, so an hour counts as well.
create function event_settled(event bytea) returns boolean language plpgsql as $$
declare
  s security_event;
begin
  select * into s from security_event where id = event;
  for tries in 1..200 loop
    if pg_snapshot_xmin(pg_current_snapshot()) > s.xid or s.received_at < clock_timestamp() - interval '1 hour' then return true; end if;
    perform pg_sleep(0.01);
  end loop;
  return false;
end $$;

-- The next job that is due, kept from other replicas for so long, with its next targets.
create function claim_revocation(most integer, lease_seconds float8) returns jsonb language plpgsql as $$
declare
  r revocation;
begin
  update revocation set due_at = clock_timestamp() + make_interval(secs => lease_seconds)
  where id = (select x.id from revocation x where x.done_at is null and x.due_at <= (select clock_timestamp())
    order by x.due_at limit 1 for update skip locked) returning * into r;
  if not found then return null; end if;
  return jsonb_build_object('id', r.id, 'reason', r.reason, 'requestedBy', r.requested_by, 'total', r.total, 'targets', coalesce(
    (select jsonb_agg(jsonb_build_object('kind', t.kind, 'id', t.id))
     from revocation_targets(r.scope, r.name, coalesce(r.attested_before, r.requested_at), most) t), '[]'));
end $$;

-- Done once nothing is left, seen after every transaction that is older than the request: one of them may have been
-- storing a task. After a restore the numbers of transactions begin anew, so an hour counts as well.
create function settle_revocation(one uuid, e jsonb) returns text language plpgsql as $$
declare
  r revocation;
  settled boolean;
begin
  select * into r from revocation where id = one and done_at is null for update;
  if not found then return 'done'; end if;
  settled := pg_snapshot_xmin(pg_current_snapshot()) > r.xid or r.requested_at < clock_timestamp() - interval '1 hour';
  if exists (select from revocation_targets(r.scope, r.name, coalesce(r.attested_before, r.requested_at), 1)) then
    update revocation set due_at = clock_timestamp() where id = one;
    return 'more';
  end if;
  if not settled then
    update revocation set due_at = clock_timestamp() + interval '1 second' where id = one;
    return 'waiting';
  end if;
  update revocation set done_at = clock_timestamp() where id = one;
  perform append_audit(e);
  return 'done';
end $$;

-- With what is left, and what the clouds have not confirmed of it.
create function revocation_status(one uuid) returns jsonb language plpgsql stable as $$
declare
  r revocation;
  remaining integer := 0;
  ends record;
begin
  select * into r from revocation where id = one;
  if not found then return null; end if;
  if r.done_at is null then
    remaining := (select count(*) from revocation_targets(r.scope, r.name, coalesce(r.attested_before, r.requested_at), null));
  end if;
  select count(*) filter (where w.state = 'revoking') as pending, count(*) filter (where w.state = 'reaped') as by_expiry
  into ends
  from work w join task t on t.id = w.task_id join issuance i on i.id = w.id and i.intended_at = w.intended_at
  where w.requested_at >= r.requested_at and i.purpose = 'agent' and case r.scope
    when 'task' then t.id = r.name::uuid when 'template' then t.template = r.name
    when 'issuer' then t.workload_issuer = r.name
    when 'workload' then t.workload_issuer || '/' || t.workload_subject = r.name
    when 'session' then t.state not in ('open', 'suspended') and (t.attested_at is null or t.attested_at <= r.attested_before)
      and (t.workload_issuer || '/' || t.workload_subject = r.name
        or exists (select from jsonb_array_elements(t.actors) a where (a->>'issuerName') || '/' || (a->>'subject') = r.name))
    when 'grant' then i.grant_id = r.name::uuid else i.provider = r.name end;
  return jsonb_build_object('id', r.id, 'by', r.scope, 'name', r.name, 'reason', r.reason, 'requestedBy', r.requested_by,
    'requestedAt', r.requested_at, 'doneAt', r.done_at, 'total', greatest(r.total, remaining), 'remaining', remaining,
    'pending', ends.pending, 'byExpiry', ends.by_expiry);
end $$;

-- The next tasks of the pass, kept from other replicas for so long; null while there is nothing to look at. A pass is
-- begun by one call and goes on with the next, once every transaction that is older is over: it may be storing a task.
-- A change in the middle of a pass begins another one after it.
create function claim_review(most integer, lease_seconds float8) returns jsonb language plpgsql as $$
declare
  r review;
  c config_epoch;
  ids uuid[];
begin
  select * into c from config_epoch;
  perform 1 from review where after is not null or epoch <> c.epoch;
  if not found then return null; end if;
  select * into r from review where due_at <= clock_timestamp() for update skip locked;
  if not found then return null; end if;
  if r.after is null then
    if r.epoch = c.epoch then return null; end if;
    update review set epoch = c.epoch, started_at = clock_timestamp(), xid = pg_current_xact_id(),
      after = '00000000-0000-0000-0000-000000000000';
    return jsonb_build_object('epoch', c.epoch, 'tasks', '[]'::jsonb, 'begun', true);
  end if;
  if pg_snapshot_xmin(pg_current_snapshot()) <= r.xid and r.started_at > clock_timestamp() - interval '1 hour' then
    return null;
  end if;
  ids := array(select t.id from task t
    where t.ends_on_change and t.state in ('open', 'suspended') and t.id > r.after order by t.id limit most);
  update review set due_at = clock_timestamp() + make_interval(secs => lease_seconds);
  return jsonb_build_object('epoch', r.epoch, 'tasks', to_jsonb(ids), 'begun', false);
end $$;

-- How far the pass has come; null: through. A late word of a pass that is over changes nothing.
create function settle_review(of_epoch bigint, looked_at uuid) returns void language sql as $$
  update review set after = case when looked_at is not null then greatest(after, looked_at) end, due_at = clock_timestamp()
  where epoch = of_epoch and after is not null
$$;

create function suspend_task(task uuid, e jsonb) returns boolean language plpgsql as $$
declare
  tree uuid[] := lock_trees(array[task]);
  beneath uuid;
begin
  -- A lapsed lease stays lapsed, unless that is what suspends it: a suspension would keep the task from the reaper, and a resumption give it a new one.
  update task t set state = 'suspended', state_reason = e->>'reason', suspended_along = false
  where t.id = suspend_task.task and t.expires_at > clock_timestamp()
    and ((t.state = 'open' and (t.lease_until > clock_timestamp() or t.on_lapse = 'suspend'))
      or (t.state = 'suspended' and t.suspended_along));
  if not found then return false; end if;
  perform append_audit(e->'audit');
  for beneath in
    update task t set state = 'suspended', state_reason = 'parent task suspended', suspended_along = true
    where t.id = any(tree) and t.id <> suspend_task.task and t.state = 'open'
      and (t.lease_until > clock_timestamp() or t.on_lapse = 'suspend')
    returning t.id
  loop
    perform append_derived(e->'audit', beneath, 'parent task suspended', 'suspended', e->>'beneath');
  end loop;
  update task_grant set state = 'suspended' where task_id = any(tree) and state = 'active';
  perform take_back(tree);
  return true;
end $$;

-- What was suspended along with it comes back with it, down to the first that was suspended by itself. Not beneath a
-- task that gives nothing itself.
create function resume_task(task uuid, e jsonb) returns boolean language plpgsql as $$
declare
  tree uuid[] := lock_trees(array[task]);
  above uuid := (select t.parent_id from task t where t.id = resume_task.task);
  back uuid[];
  beneath uuid;
begin
  if above is not null and refuse_task(above) is not null then return false; end if;
  if exists (select from subject_cut) and is_task_cut(resume_task.task) then return false; end if;
  back := array(
    with recursive again as (
      select t.id from task t where t.id = resume_task.task and t.state = 'suspended' and t.expires_at > clock_timestamp()
      union
      select t.id from task t join again on t.parent_id = again.id
      where t.state = 'suspended' and t.suspended_along and t.expires_at > clock_timestamp()
    )
    select id from again);
  if cardinality(back) = 0 then return false; end if;
  update task t set state = 'open', state_reason = null, suspended_along = false,
    lease_until = renewed_lease(t), silent_at = next_silence(t) where t.id = any(back);
  perform append_audit(e->'audit');
  foreach beneath in array back loop
    if beneath <> resume_task.task then perform append_derived(e->'audit', beneath, 'parent task resumed', 'open'); end if;
  end loop;
  update task_grant set state = 'active', generation = generation + 1 where task_id = any(back) and state = 'suspended';
  update work set due_at = clock_timestamp() where id = any(back) and kind = 'task';
  return true;
end $$;

-- Answers why the task gives nothing now, or null. Only what is over for good is not renewed.
create function heartbeat_task(task uuid) returns text language plpgsql as $$
declare
  refused text := refuse_task(task);
begin
  if refused in ('task_ended', 'session_revoked') then return refused; end if;
  update task t set lease_until = renewed_lease(t), silent_at = next_silence(t)
  where t.id = heartbeat_task.task and t.expires_at > clock_timestamp()
    and (t.state = 'suspended' or (t.state = 'open' and t.lease_until > clock_timestamp()));
  return refused;
end $$;

-- Adds entries and takes the writer lease of the deny document of one Provider's role; null while another writer holds it.
-- Denies every session of this role from before now. The entry keeps the document watched for as long as one can live.
create function deny_cut(doc_provider text, doc_role text) returns void language sql as $$
  insert into deny_document (provider, role) values (doc_provider, doc_role) on conflict do nothing;
  update deny_document set cut_at = clock_timestamp(), version = version + 1, read_at = null
  where provider = doc_provider and role = doc_role;
  insert into deny_entry (provider, role, source_identity, task_id, needed_until)
  values (doc_provider, doc_role, 'mf-recovery', '00000000-0000-0000-0000-000000000000', clock_timestamp() + interval '65 minutes')
  on conflict (provider, role, source_identity) do update set needed_until = excluded.needed_until;
$$;

create function deny_request(doc_provider text, doc_role text, entries jsonb, lease_seconds float8, known jsonb) returns jsonb
language plpgsql as $$
declare
  d deny_document;
begin
  -- An older state has forgotten some who were denied, and a document written from it would let them in again.
  if (select needs_recovery(c, known) from config_epoch c) then perform deny_cut(doc_provider, doc_role); end if;
  insert into deny_document (provider, role) values (doc_provider, doc_role) on conflict do nothing;
  select * into d from deny_document where provider = doc_provider and role = doc_role for update;
  if d.writer_until > clock_timestamp() then return null; end if;
  insert into deny_entry (provider, role, source_identity, task_id, needed_until)
  select doc_provider, doc_role, x->>'sourceIdentity', max(x->>'taskId')::uuid, max((x->>'neededUntil')::timestamptz)
  from jsonb_array_elements(entries) x group by x->>'sourceIdentity' order by x->>'sourceIdentity'
  on conflict (provider, role, source_identity) do update set needed_until = greatest(deny_entry.needed_until, excluded.needed_until);
  -- Kept five minutes longer than any session can live: clocks and caches of the cloud.
  delete from deny_entry where provider = doc_provider and role = doc_role and needed_until < clock_timestamp() - interval '5 minutes';
  update deny_document set version = version + 1, writer_until = clock_timestamp() + make_interval(secs => lease_seconds)
  where provider = doc_provider and role = doc_role returning * into d;
  return jsonb_build_object('version', d.version, 'isCut', coalesce(d.cut_at > clock_timestamp() - interval '65 minutes', false),
    'entries', coalesce(
      (select jsonb_agg(source_identity order by source_identity) from deny_entry where provider = doc_provider and role = doc_role), '[]'));
end $$;

create function deny_acknowledge(doc_provider text, doc_role text, doc_version bigint, how jsonb) returns boolean language plpgsql as $$
begin
  update deny_document set acked_version = doc_version, read_at = clock_timestamp(), writer_until = null,
    told = how is null or (told and widened is not distinct from how), widened = how
  where provider = doc_provider and role = doc_role and version = doc_version;
  if not found then return false; end if;
  update deny_entry set acknowledged_at = clock_timestamp()
  where provider = doc_provider and role = doc_role and acknowledged_at is null;
  return true;
end $$;

-- A session that this entry denies was seen refused: told once, and only while its acknowledgement stands.
create function deny_prove(doc_provider text, doc_role text, identity text, acknowledged timestamptz, e jsonb) returns boolean language plpgsql as $$
begin
  update deny_entry set effective_at = clock_timestamp()
  where provider = doc_provider and role = doc_role and source_identity = identity and effective_at is null
    and date_trunc('milliseconds', acknowledged_at) = date_trunc('milliseconds', acknowledged);
  if found then perform append_audit(e); end if;
  return found;
end $$;

-- Documents that hit others too and of which the log was not told; innocents: live grants in the role that nobody ended.
-- They are looked for among the next 20,000 of the provider: a mass of ends must not be held up to be told exactly.
create function deny_untold() returns table (provider text, role text, version integer, entries integer, widened jsonb, innocents integer)
language sql stable as $$
  select d.provider, d.role, d.version::int,
    (select count(*)::int from deny_entry e where e.provider = d.provider and e.role = d.role), d.widened,
    (select count(distinct w.reach)::int
     from (select * from work x where x.lane = d.provider order by x.due_at limit 20000) w
       join issuance i on i.id = w.id and i.intended_at = w.intended_at
     where w.state in ('intended', 'delivered') and w.not_after > clock_timestamp() and i.plan->'body'->>'role' = d.role
       and not exists (select from deny_entry e where e.provider = d.provider and e.role = d.role and e.source_identity = w.reach)
       and case d.widened->>'step'
         when 'cohort' then d.widened->'prefixes' ? left(w.reach, length(d.widened->'prefixes'->>0))
         when 'issued-before' then i.intended_at < (d.widened->>'issuedBefore')::timestamptz
         else true end)
  from deny_document d where not d.told and d.widened is not null and d.acked_version = d.version
$$;

create function deny_tell(doc_provider text, doc_role text, doc_version bigint, e jsonb) returns void language plpgsql as $$
begin
  update deny_document set told = true
  where provider = doc_provider and role = doc_role and version = doc_version and not told;
  if found then perform append_audit(e); end if;
end $$;

-- A document that was read and is not ours: everything it should have denied goes back to revoking.
create function deny_reopen(doc_provider text, doc_role text, e jsonb) returns void language plpgsql as $$
begin
  update deny_document set acked_version = 0, read_at = clock_timestamp() where provider = doc_provider and role = doc_role;
  update deny_entry set acknowledged_at = null, effective_at = null where provider = doc_provider and role = doc_role;
  insert into work (id, kind, lane, task_id, intended_at, state, due_at, not_after, requested_at, reach, ends_by)
  select i.id, 'issuance', i.provider, i.task_id, i.intended_at, 'revoking', clock_timestamp(), i.not_after, clock_timestamp(), i.reach,
    i.ends_by
  from issuance i join deny_entry d on d.source_identity = i.reach and d.provider = i.provider
  where d.provider = doc_provider and d.role = doc_role and i.not_after > clock_timestamp() and i.decision = 'allow'
    and exists (select from issuance_end x where x.issuance_id = i.id and x.intended_at = i.intended_at)
  on conflict do nothing;
  if e is not null then perform append_audit(e); end if;
end $$;

-- Opening by the API: what it uses up and the task are one statement, or neither.
create function open_with_uses(o jsonb, known_epoch bigint, uses jsonb) returns jsonb language plpgsql as $$
declare
  opened jsonb;
  refused text;
begin
  select u->>'replayed' into refused from jsonb_array_elements(uses) u
  where exists (select from replay where digest = decode(u->>'digest', 'hex')) limit 1;
  if refused is not null then return jsonb_build_object('kind', 'refused', 'reason', refused); end if;
  opened := open_task(o, known_epoch);
  if opened->>'kind' = 'opened' then
    refused := use_once(uses);
    if refused is not null then raise exception using errcode = 'MF001', message = 'mayfly: replayed'; end if;
  end if;
  return opened;
exception when sqlstate 'MF001' then
  return jsonb_build_object('kind', 'refused', 'reason', refused);
end $$;

-- What stands between an ended task and the last of its credentials, and of those beneath. Base sessions are counted by their own issuances.
create function task_ending(task uuid) returns table (
  state text, total integer, confirmed integer, pending integer, by_expiry integer, worst timestamptz
) language sql stable as $$
  with one as (
    select i.local, i.ends_by, i.not_after, w.state as work_state,
      case
        when i.local and i.ends_by <> 'expired' then 'confirmed'
        when i.not_after <= now() and w.id is null then 'confirmed'
        when w.id is null and not i.local then 'confirmed'
        when i.ends_by = 'expired' or w.state = 'reaped' then 'by_expiry'
        else 'pending'
      end as how
    from issuance i left join work w on w.id = i.id
    where i.task_id = any(trees_of(array[task_ending.task])) and i.decision = 'allow' and i.purpose = 'agent'
  )
  select (select t.state from task t where t.id = task_ending.task), count(*)::int,
    (count(*) filter (where how = 'confirmed'))::int, (count(*) filter (where how = 'pending'))::int,
    (count(*) filter (where how = 'by_expiry'))::int, max(not_after) filter (where how <> 'confirmed')
  from one
$$;

-- Takes back one credential (RFC 7009), and with it whatever shares its reach; the grant lives on under a new generation,
-- since a reach that was taken back is never used again. A tool token of an introspecting server is denied from this
-- commit on; one of an offline server lives until it expires, and its end is written down as exactly that. False:
-- nothing lives that could be taken back.
create function revoke_issuance(one uuid, e jsonb) returns boolean language plpgsql as $$
declare
  i issuance;
begin
  select * into i from issuance
  where id = one and intended_at = uuid_time(one) and decision = 'allow' and purpose = 'agent';
  if not found then return false; end if;
  perform 1 from task_grant where id = i.grant_id for update;
  if i.local then
    if not exists (
      select from task_grant g join task t on t.id = g.task_id
      where g.id = i.grant_id and i.not_after > clock_timestamp() and t.state = 'open' and g.generation = i.generation
    ) or exists (select from issuance_end x where x.issuance_id = i.id and x.intended_at = i.intended_at) then
      return false;
    end if;
    insert into issuance_end (issuance_id, intended_at, at, method, requested_at, evidence)
    values (i.id, i.intended_at, case i.ends_by when 'expired' then i.not_after else clock_timestamp() end, i.ends_by,
      clock_timestamp(), '{}');
  else
    if not exists (select from work where id = one and state in ('intended', 'delivered')) then return false; end if;
    update work set requested_at = clock_timestamp(), due_at = clock_timestamp(), attempts = 0,
      state = case state when 'intended' then 'reaped' else 'revoking' end
    where task_id = i.task_id and reach = i.reach and kind = 'issuance' and state in ('intended', 'delivered');
    update task_grant set generation = generation + 1 where id = i.grant_id;
  end if;
  perform append_audit(e);
  return true;
end $$;

-- The next key of a purpose and algorithm. The row of the epoch is the lock under which two replicas rotate once; raising
-- it makes the key known everywhere.
create function rotate_key(k jsonb, every_seconds float8, lead_seconds float8, retire_others_at timestamptz, e jsonb)
returns boolean language plpgsql as $$
begin
  perform 1 from config_epoch for update;
  if (k->>'activeFrom')::timestamptz < clock_timestamp() + make_interval(secs => lead_seconds) or exists (
    select from signing_key where purpose = k->>'purpose' and alg = k->>'alg'
      and active_from + make_interval(secs => every_seconds) > (k->>'activeFrom')::timestamptz
      and (retired_at is null or retired_at > active_from)
  ) then
    return false;
  end if;
  update signing_key set retired_at = retire_others_at
  where purpose = k->>'purpose' and alg = k->>'alg' and retired_at is null;
  insert into signing_key (id, purpose, alg, public_jwk, wrapped, created_at, active_from)
  values (k->>'id', k->>'purpose', k->>'alg', k->'publicJwk', decode(k->>'wrapped', 'hex'),
    (k->>'createdAt')::timestamptz, (k->>'activeFrom')::timestamptz);
  update config_epoch set epoch = epoch + 1;
  perform append_audit(e);
  return true;
end $$;

-- A key that has signed nothing yet never will. The one that signs now goes on, as if that had not been published.
create function withdraw_key(key_id text, e jsonb) returns boolean language plpgsql as $$
declare
  k signing_key;
begin
  perform 1 from config_epoch for update;
  update signing_key set retired_at = clock_timestamp()
  where id = key_id and active_from > clock_timestamp() and (retired_at is null or retired_at > clock_timestamp()) returning * into k;
  if not found then return false; end if;
  update signing_key set retired_at = null where id = (
    select o.id from signing_key o where o.purpose = k.purpose and o.alg = k.alg and o.active_from <= clock_timestamp()
      and (o.retired_at is null or o.retired_at > clock_timestamp()) order by o.active_from desc limit 1);
  update config_epoch set epoch = epoch + 1;
  perform append_audit(e);
  return true;
end $$;
