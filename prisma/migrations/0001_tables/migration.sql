-- Wide rows are written once; what changes is narrow (docs/architecture.md, storage).
-- No foreign keys from issuance, audit and work to task and grant: the deciding statement proves that they exist,
-- and each key would cost a trigger and a lock on the hot row.

create table installation (
  one boolean primary key default true check (one),
  environment text not null check (environment in ('dev', 'production')),
  system_identifier text not null,
  created_at timestamptz not null default now()
);

-- One number for everything that decides; raised in the writing transaction.
create table config_epoch (
  one boolean primary key default true check (one),
  epoch bigint not null default 1,
  bundle_version bigint not null default 0,
  -- How far this database has come: replicas raise it, and remember what they saw. One that says less is an older state.
  mark bigint not null default 0,
  -- Which database it is, also after a restore: what was known of another says nothing of this one.
  installation uuid not null default gen_random_uuid(),
  -- Milliseconds since 1970 of the last `mayfly recover`; assertions from before it work nowhere that they work once.
  recovered bigint not null default 0,
  -- Why nothing is issued until then; null: nothing is wrong.
  recovery text
);
insert into config_epoch default values;

-- Where nothing is issued; a change raises the epoch. Few rows, read by every intent.
create table frozen (
  scope text not null check (scope in ('all', 'template', 'provider', 'issuer')),
  name text not null,
  reason text not null,
  at timestamptz not null default clock_timestamp(),
  xid xid8 not null default pg_current_xact_id(),
  primary key (scope, name),
  check ((scope = 'all') = (name = ''))
);

-- Versions never change; `document_active` says which one is in force. Both carry an HMAC of a key outside the database.
create table document (
  kind text not null,
  name text not null,
  version integer not null,
  body bytea not null,
  mac bytea not null,
  created_at timestamptz not null default now(),
  created_by text not null,
  primary key (kind, name, version)
);
create table document_active (
  kind text not null,
  name text not null,
  version integer not null,
  set_name text not null,
  mac bytea not null,
  primary key (kind, name)
);

create table signing_key (
  id text primary key,
  purpose text not null,
  alg text not null,
  public_jwk jsonb,
  wrapped bytea not null,
  created_at timestamptz not null,
  active_from timestamptz not null,
  retired_at timestamptz
);

create table task (
  id uuid primary key,
  template text not null,
  template_version integer not null,
  ref text,
  params jsonb not null,
  objective text,
  workload_issuer text not null,
  workload_iss text not null,
  workload_subject text not null,
  claims jsonb not null,
  owner text not null,
  owner_key bytea not null,
  -- Whose limits it counts against: the owner, whoever acts for it.
  limit_key bytea not null,
  opener jsonb,
  -- Who acts for the workload, the present one first; the key that its task tokens are bound to.
  actors jsonb not null default '[]',
  confirmation jsonb,
  parent_id uuid references task (id),
  depth_left integer not null default 0,
  state text not null default 'open'
    check (state in ('open', 'suspended', 'completed', 'failed', 'abandoned', 'expired', 'deviated', 'cancelled')),
  state_reason text,
  -- Suspended because a task above was; gives way to a suspension of its own.
  suspended_along boolean not null default false,
  -- `onChange: end` of the version that it was opened with: looked at again whenever what decides has changed.
  ends_on_change boolean not null default false,
  -- Its end was asked for, because its workload is not what it was; nothing is given until it has come.
  is_cut boolean not null default false,
  -- `heartbeatLost` of the version that it was opened with.
  on_lapse text not null default 'end' check (on_lapse in ('end', 'suspend', 'note')),
  -- `note`: the lease lasts as long as the task, and this is when its silence is told; null: it was, until the next beat.
  silent_at timestamptz,
  outcome text,
  opened_at timestamptz not null,
  -- When the oldest of the assertions was issued that it was opened with; null: that does not say.
  attested_at timestamptz,
  -- By the database's clock: what a revocation was asked before.
  stored_at timestamptz not null default clock_timestamp(),
  lease_seconds integer not null,
  lease_until timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz
) with (fillfactor = 80);
create unique index task_ref on task (template, owner_key, ref, parent_id) nulls not distinct where ref is not null;
create index task_parent on task (parent_id) where parent_id is not null;
create index task_live on task (template, limit_key) where state in ('open', 'suspended');
create index task_live_workload on task (workload_issuer, workload_subject) where state in ('open', 'suspended');
create index task_live_actors on task using gin (actors jsonb_path_ops) where state in ('open', 'suspended') and actors <> '[]';
create index task_reviewed on task (id) where ends_on_change and state in ('open', 'suspended');
create index task_opened on task (opened_at, id);

-- The one lock of an exchange. No index on what changes, so that counting stays HOT.
create table task_grant (
  id uuid primary key,
  task_id uuid not null references task (id),
  name text not null,
  tool text not null,
  provider text not null,
  access text not null,
  resource text not null,
  actions text[] not null,
  mint jsonb not null,
  ttl_default integer not null,
  ttl_max integer not null,
  ends_within integer,
  exchanges_max integer,
  per_minute integer,
  -- The grants that it lies within, the topmost first: it ends with them, and spends their budgets too.
  above uuid[] not null default '{}',
  uses integer not null default 0,
  state text not null default 'active' check (state in ('active', 'suspended', 'ended')),
  generation integer not null default 1,
  ended_at timestamptz
) with (fillfactor = 60);
create index task_grant_task on task_grant (task_id);
-- Of a provider's grants those that have not ended; neither column changes when an exchange is counted.
create index task_grant_live on task_grant (provider) where state <> 'ended';

-- Sights of a live task off its path: what was refused, or signalled. `told`: an act has already named it as evidence.
create table sighting (
  task_id uuid not null,
  rule text not null,
  at timestamptz not null default clock_timestamp(),
  evidence uuid not null,
  what bytea not null,
  told boolean not null default false,
  primary key (task_id, rule, at, evidence)
);

-- After a deviation nothing of this workload opens or mints under this template.
create table quarantine (
  template text not null,
  workload_issuer text not null,
  workload_subject text not null,
  until timestamptz not null,
  task_id uuid not null,
  primary key (template, workload_issuer, workload_subject)
);

-- Assertions of this subject from before count no more; kept until none of them can live.
create table subject_cut (
  issuer text not null,
  subject text not null,
  before timestamptz not null,
  -- Nor do tasks that were opened with assertions from before this.
  tasks_before timestamptz,
  until timestamptz not null,
  primary key (issuer, subject)
);

-- Security events that were taken (RFC 8417): the same again has no second effect. `ends`: tasks that it was to end.
create table security_event (
  id bytea primary key check (length(id) = 32),
  issuer text not null,
  ends integer not null,
  received_at timestamptz not null default clock_timestamp(),
  xid xid8 not null default pg_current_xact_id()
);
create index security_event_received on security_event (issuer, received_at);

-- Limits that outlive tasks: opens per hour, exchanges per minute; scope is a digest of (workload, template, what).
create table counter (
  scope bytea not null,
  window_start timestamptz not null,
  n integer not null,
  primary key (scope, window_start)
) with (fillfactor = 60);

-- One row per assertion or DPoP proof that was used. The key of an assertion is (iss, jti) alone, since an issuer may
-- sign one jti with two expiries; that of a proof is (jkt, htu, jti).
-- Swept by expiry; a BRIN costs nothing to write.
create table replay (
  digest bytea primary key,
  expires_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.05);
create index replay_expiry on replay using brin (expires_at);

create table idempotency (
  digest bytea primary key,
  issuance_id uuid,
  body_digest text,
  status integer,
  body jsonb,
  expires_at timestamptz not null
);

-- Insert-only. `intended_at` is the time inside the UUIDv7, so every look-up by id names its partition.
create table issuance (
  id uuid not null,
  intended_at timestamptz not null,
  seq bigint not null,
  purpose text not null check (purpose in ('agent', 'base')),
  decision text not null check (decision in ('allow', 'deny', 'pending')),
  reason text,
  local boolean not null,
  task_id uuid,
  grant_id uuid,
  grant_name text,
  template text,
  template_version integer,
  workload_issuer text not null,
  workload_subject text not null,
  actor_issuer text,
  actor_subject text,
  tool text,
  provider text,
  access text,
  resource text,
  actions text[] not null,
  native_permissions text[] not null,
  purpose_text text,
  ttl_seconds integer,
  not_after timestamptz,
  ends_by text,
  reach text,
  generation integer,
  worst_case_seconds integer,
  policy_epoch bigint not null,
  input_digest text not null,
  assertion_digest text,
  request_id text,
  plan jsonb,
  explanation jsonb not null,
  primary key (id, intended_at)
) partition by range (intended_at);
create sequence issuance_seq;
create index issuance_task on issuance (task_id);

create table issuance_delivery (
  issuance_id uuid not null,
  intended_at timestamptz not null,
  delivered_at timestamptz not null default now(),
  key_hash text,
  expires_at timestamptz not null,
  primary key (issuance_id, intended_at)
) partition by range (intended_at);

create table issuance_end (
  issuance_id uuid not null,
  intended_at timestamptz not null,
  at timestamptz not null default clock_timestamp(),
  method text not null check (method in ('deleted', 'denied', 'cut', 'expired', 'never_minted')),
  requested_at timestamptz,
  evidence jsonb not null,
  primary key (issuance_id, intended_at, at)
) partition by range (intended_at);

-- Exists only while something must still happen; deleted at the confirmed end.
create table work (
  id uuid primary key,
  kind text not null check (kind in ('issuance', 'task')),
  -- The provider, so that each has its turn; '' for tasks.
  lane text not null default '',
  task_id uuid,
  intended_at timestamptz,
  state text not null check (state in ('intended', 'delivered', 'revoking', 'reaped', 'task')),
  due_at timestamptz not null,
  not_after timestamptz,
  requested_at timestamptz,
  reach text,
  -- As the plan says; null for tasks.
  ends_by text,
  attempts integer not null default 0
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index work_due on work (lane, due_at);
create index work_task on work (task_id);
-- Ends that were asked for: few, however much is outstanding. Of them, those that a provider has yet to confirm.
create index work_requested on work (requested_at) where requested_at is not null;
create index work_unconfirmed on work (requested_at)
  where requested_at is not null and state = 'revoking' and ends_by <> 'expired';

-- An end of everything that a name covers, worked off in batches. What is left is read from the tasks and grants
-- themselves, so that a crash between two batches leaves no wrong count. `requested_at` comes before `xid`: whoever
-- stored a task earlier has an earlier transaction.
create table revocation (
  id uuid primary key,
  scope text not null check (scope in ('task', 'grant', 'workload', 'session', 'template', 'issuer', 'provider')),
  name text not null,
  -- Of a session: tasks that were opened with assertions from before, or that do not say.
  attested_before timestamptz,
  reason text not null,
  requested_by text not null,
  requested_at timestamptz not null default clock_timestamp(),
  xid xid8 not null default pg_current_xact_id(),
  total integer not null default 0,
  due_at timestamptz not null default clock_timestamp(),
  done_at timestamptz
);
create index revocation_due on revocation (due_at) where done_at is null;

-- The look at open tasks after a change of what decides: one pass at a time, batch by batch. `after` is how far it has
-- come, null once all of `epoch` was looked at.
create table review (
  one boolean primary key default true check (one),
  epoch bigint not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  xid xid8 not null default pg_current_xact_id(),
  after uuid,
  due_at timestamptz not null default clock_timestamp()
);
insert into review default values;

-- Insert-only. `body` is the canonical event (RFC 8785), `leaf_hash` its RFC 6962 leaf. `xid` lets a later
-- sequencer take rows older than every running transaction; `cluster` tells apart dumps restored into a new one.
create sequence audit_seq;
create table audit_entry (
  seq bigint not null default nextval('audit_seq'),
  at timestamptz not null,
  id uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  type text not null,
  actor text,
  task_id uuid,
  issuance_id uuid,
  body bytea not null,
  leaf_hash bytea not null,
  primary key (seq, at)
) partition by range (at);
create index audit_entry_task on audit_entry (task_id) where task_id is not null;

-- A role is one only within its Provider: two clusters without accounts have roles of one name.
create table deny_document (
  provider text not null,
  role text not null,
  version bigint not null default 0,
  acked_version bigint not null default 0,
  -- What the acknowledged version says that could not name each session, and whether the log was told.
  widened jsonb,
  told boolean not null default true,
  writer_until timestamptz,
  read_at timestamptz,
  -- Of sessions from before it nobody knows which were denied: for as long as one can live each version denies them all.
  cut_at timestamptz,
  primary key (provider, role)
);
create table deny_entry (
  provider text not null,
  role text not null,
  source_identity text not null,
  task_id uuid not null,
  needed_until timestamptz not null,
  -- When the document that holds it was read back, and when a session that it denies was seen refused.
  acknowledged_at timestamptz,
  effective_at timestamptz,
  primary key (provider, role, source_identity),
  foreign key (provider, role) references deny_document (provider, role)
);

-- What falls outside every made-ahead partition is still kept; `mayfly doctor` names a default that is not empty.
create table issuance_default partition of issuance default;
create table issuance_delivery_default partition of issuance_delivery default;
create table issuance_end_default partition of issuance_end default;
create table audit_entry_default partition of audit_entry default;

-- Days from yesterday on; idempotent. The owner's right, lent to the app for exactly this.
create function ensure_partitions(days integer) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
  parent text;
  day date;
  child text;
  made integer := 0;
begin
  if days not between 1 and 60 then raise exception 'days out of range'; end if;
  foreach parent in array array['issuance', 'issuance_delivery', 'issuance_end', 'audit_entry'] loop
    for day in select generate_series((now() at time zone 'utc')::date - 1, (now() at time zone 'utc')::date + days, interval '1 day')::date loop
      child := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
      if to_regclass(format('public.%I', child)) is null then
        execute format('create table %I partition of %I for values from (%L) to (%L)', child, parent,
          day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
        made := made + 1;
      end if;
    end loop;
  end loop;
  return made;
end $$;

-- Retention is dropping whole days.
create function drop_partitions(keep_days integer) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
  child record;
  dropped integer := 0;
begin
  if keep_days < 1 then raise exception 'keep_days out of range'; end if;
  for child in
    select c.relname
    from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
    where p.relname in ('issuance', 'issuance_delivery', 'issuance_end', 'audit_entry')
      and c.relname ~ '_[0-9]{8}$'
  loop
    if to_date(right(child.relname, 8), 'YYYYMMDD')
      < (now() at time zone 'utc')::date - keep_days then
      execute format('drop table %I', child.relname);
      dropped := dropped + 1;
    end if;
  end loop;
  return dropped;
end $$;

select ensure_partitions(7);
