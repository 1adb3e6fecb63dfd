create table account (
  id integer primary key,
  public_id text not null unique,
  name text not null,
  balance_nanos integer not null default 0,
  used_nanos integer not null default 0,
  day_start integer not null default 0,
  day_spent_nanos integer not null default 0,
  daily_limit_nanos integer,
  requests_per_minute integer,
  requests_per_hour integer,
  requests_per_day integer,
  tokens_per_minute integer,
  concurrent_requests integer,
  created_at integer not null,
  suspended_at integer,
  frozen_at integer
) strict;

create table customer (
  id integer primary key,
  public_id text not null unique,
  email text not null collate nocase unique,
  name text not null default '',
  password_hash text,
  is_operator integer not null default 0,
  created_at integer not null,
  verified_at integer,
  closed_at integer
) strict;

create table membership (
  customer integer not null references customer (id),
  account integer not null references account (id),
  role text not null default 'owner',
  primary key (customer, account)
) strict, without rowid;

create index membership_by_account on membership (account);

create table api_key (
  id integer primary key,
  public_id text not null unique,
  account integer not null references account (id),
  digest blob not null unique,
  visible_prefix text not null,
  name text not null,
  created_at integer not null,
  expires_at integer,
  revoked_at integer,
  is_disabled integer not null default 0,
  limit_nanos integer,
  limit_period text not null default 'total',
  period_start integer not null default 0,
  spent_nanos integer not null default 0,
  used_nanos integer not null default 0,
  requests_per_minute integer,
  requests_per_hour integer,
  requests_per_day integer,
  tokens_per_minute integer,
  concurrent_requests integer,
  models text,
  addresses text,
  last_used_at integer
) strict;

create index api_key_by_account on api_key (account);

create table model (
  id integer primary key,
  name text not null unique,
  entry text,
  endpoints text,
  seen_at integer,
  withdrawn_at integer
) strict;

create table price_rule (
  id integer primary key,
  pattern text not null,
  account integer references account (id),
  markup_bps integer not null,
  fixed_nanos integer not null default 0,
  minimum_nanos integer not null default 0,
  priority integer not null default 0,
  is_block integer not null default 0,
  created_at integer not null
) strict;

create unique index price_rule_by_pattern on price_rule (pattern, coalesce(account, 0));

create table transfer (
  id integer primary key,
  debit integer not null references account (id),
  credit integer not null references account (id),
  amount_nanos integer not null check (amount_nanos > 0),
  kind text not null,
  ref text not null unique,
  at integer not null,
  note text,
  check (debit <> credit)
) strict;

create index transfer_by_debit on transfer (debit, id) where debit >= 100 and kind <> 'usage';

create index transfer_by_credit on transfer (credit, id) where credit >= 100;

create trigger transfer_no_update before update on transfer begin
  select raise(abort, 'transfers are append-only');
end;

create trigger transfer_no_delete before delete on transfer begin
  select raise(abort, 'transfers are append-only');
end;

create table hold (
  request_id text primary key,
  account integer not null,
  api_key integer not null,
  model integer not null,
  opened_at integer not null,
  held_nanos integer not null,
  markup_bps integer not null,
  fixed_nanos integer not null,
  minimum_nanos integer not null,
  prompt_nanos integer not null,
  is_stream integer not null,
  generation_id text,
  state text not null default 'open' check (state in ('open', 'pending')),
  reason text,
  estimate_nanos integer,
  client_left integer not null default 0,
  parked_at integer,
  polls integer not null default 0
) strict, without rowid;

create table usage_record (
  id integer primary key,
  request_id text not null unique,
  account integer not null,
  api_key integer not null,
  model integer not null,
  at integer not null,
  generation_id text,
  status integer not null,
  outcome text,
  is_stream integer not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  cached_tokens integer not null,
  cache_write_tokens integer not null,
  reasoning_tokens integer not null,
  cost_picos integer,
  charge_nanos integer not null,
  written_off_nanos integer not null,
  markup_bps integer not null,
  fixed_nanos integer not null,
  first_byte_ms integer,
  duration_ms integer not null
) strict;

create index usage_record_by_account on usage_record (account, at);

create table exposure (
  request_id text primary key,
  account integer not null,
  api_key integer not null,
  model integer not null,
  opened_at integer not null,
  written_at integer not null,
  held_nanos integer not null,
  charge_nanos integer not null,
  reason text not null
) strict, without rowid;

create table usage_hour (
  account integer not null,
  start_at integer not null,
  api_key integer not null,
  model integer not null,
  requests integer not null,
  errors integer not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  cached_tokens integer not null,
  reasoning_tokens integer not null,
  cost_picos integer not null,
  charge_nanos integer not null,
  written_off_nanos integer not null,
  first_byte_ms integer not null,
  duration_ms integer not null,
  primary key (account, start_at, api_key, model)
) strict, without rowid;

create index usage_hour_by_start on usage_hour (start_at);

create table usage_day (
  account integer not null,
  start_at integer not null,
  api_key integer not null,
  model integer not null,
  requests integer not null,
  errors integer not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  cached_tokens integer not null,
  reasoning_tokens integer not null,
  cost_picos integer not null,
  charge_nanos integer not null,
  written_off_nanos integer not null,
  first_byte_ms integer not null,
  duration_ms integer not null,
  primary key (account, start_at, api_key, model)
) strict, without rowid;

create index usage_day_by_start on usage_day (start_at);

create table setting (
  name text primary key,
  value text not null,
  changed_at integer not null
) strict, without rowid;

create table bucket_level (
  owner text primary key,
  levels text not null,
  saved_at integer not null
) strict, without rowid;

create table job_run (
  name text primary key,
  started_at integer not null,
  ended_at integer not null,
  outcome text not null,
  detail text not null
) strict, without rowid;

create table audit (
  id integer primary key,
  at integer not null,
  actor text not null,
  action text not null,
  subject text not null,
  detail text not null
) strict;

create table alarm (
  id integer primary key,
  kind text not null,
  detail text not null,
  first_at integer not null,
  last_at integer not null,
  times integer not null default 1,
  cleared_at integer
) strict;

create unique index alarm_standing on alarm (kind) where cleared_at is null;

insert into account (id, public_id, name, created_at) values
  (1, 'cash', 'Cash', 0),
  (2, 'bonus', 'Bonus', 0),
  (3, 'revenue', 'Revenue', 0),
  (4, 'write_off', 'Write-off', 0),
  (5, 'adjustment', 'Adjustment', 0),
  (99, 'reserved', 'Reserved', 0);
