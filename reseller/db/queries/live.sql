-- What memory is built from at start.

-- name: list_accounts
select
  id, public_id, name, balance_nanos, used_nanos, day_start, day_spent_nanos, daily_limit_nanos,
  requests_per_minute, requests_per_hour, requests_per_day, tokens_per_minute,
  concurrent_requests, created_at, suspended_at, frozen_at
from account
where id >= 100

-- name: list_keys
select
  id, public_id, account, digest, name, created_at, expires_at, is_disabled, limit_nanos,
  limit_period, period_start, spent_nanos, requests_per_minute, requests_per_hour,
  requests_per_day, tokens_per_minute, concurrent_requests, models, addresses
from api_key
where revoked_at is null

-- name: list_price_rules
select id, pattern, account, markup_bps, fixed_nanos, minimum_nanos, priority, is_block
from price_rule

-- name: list_models
select id, name, entry, endpoints from model where withdrawn_at is null and entry is not null

-- name: list_settings
select name, value from setting

-- name: list_bucket_levels
select owner, levels, saved_at from bucket_level

-- name: newest_time
select max(
  coalesce((select max(at) from transfer), 0),
  coalesce((select at from usage_record order by id desc limit 1), 0)
) as newest

-- name: save_setting
insert into setting (name, value, changed_at) values (?, ?, ?)
on conflict (name) do update set value = excluded.value, changed_at = excluded.changed_at

-- name: delete_setting
delete from setting where name = ?

-- name: freeze_account
update account set frozen_at = ? where id = ? and frozen_at is null

-- name: save_bucket_level
insert into bucket_level (owner, levels, saved_at)
select value ->> 0, value ->> 1, value ->> 2 from json_each(?)
where true
on conflict (owner) do update set levels = excluded.levels, saved_at = excluded.saved_at
