-- What a person's sign-in needs between its requests: codes, browser sessions, tokens. Ids are SHA-256, user codes and
-- uids an HMAC (a user code is short enough to be guessed from a plain digest), payloads are sealed under a key that is
-- not in the database: nothing here can be presented, and a writer here alone signs nobody in.
create table sign_in (
  model text not null,
  id bytea not null check (length(id) = 32),
  payload bytea not null,
  grant_id bytea check (length(grant_id) = 32),
  uid bytea check (length(uid) = 32),
  user_code bytea check (length(user_code) = 32),
  consumed_at timestamptz,
  polled_at timestamptz,
  expires_at timestamptz not null,
  primary key (model, id)
);
create index sign_in_grant on sign_in (grant_id) where grant_id is not null;
create unique index sign_in_uid on sign_in (uid) where uid is not null;
create unique index sign_in_user_code on sign_in (user_code) where user_code is not null;
create index sign_in_expires on sign_in (expires_at);

revoke all on sign_in from public;
grant select, insert, update, delete on sign_in to mayfly_app;
