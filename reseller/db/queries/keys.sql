-- API keys. A revoked key stays as a row: usage points at it.

-- name: insert_key
insert into api_key (
  public_id, account, digest, visible_prefix, name, created_at, expires_at, limit_nanos,
  limit_period, period_start, requests_per_minute, requests_per_hour, requests_per_day,
  tokens_per_minute, concurrent_requests, models, addresses
)
values (
  :public_id, :account, :digest, :visible_prefix, :name, :created_at, :expires_at, :limit_nanos,
  :limit_period, :period_start, :requests_per_minute, :requests_per_hour, :requests_per_day,
  :tokens_per_minute, :concurrent_requests, :models, :addresses
)
returning id

-- name: count_usable_keys
select count(*) as api_keys from api_key where account = ? and revoked_at is null

-- name: find_key
select
  k.id, k.public_id, k.account, k.digest, k.visible_prefix, k.name, k.created_at, k.expires_at,
  k.revoked_at, k.is_disabled, k.limit_nanos, k.limit_period, k.period_start, k.spent_nanos,
  k.used_nanos, k.requests_per_minute, k.requests_per_hour, k.requests_per_day,
  k.tokens_per_minute, k.concurrent_requests, k.models, k.addresses, k.last_used_at
from api_key as k
where k.public_id = ?

-- name: list_keys_of_account
select
  k.id, k.public_id, k.account, k.digest, k.visible_prefix, k.name, k.created_at, k.expires_at,
  k.revoked_at, k.is_disabled, k.limit_nanos, k.limit_period, k.period_start, k.spent_nanos,
  k.used_nanos, k.requests_per_minute, k.requests_per_hour, k.requests_per_day,
  k.tokens_per_minute, k.concurrent_requests, k.models, k.addresses, k.last_used_at
from api_key as k
where k.account = ?
order by k.id

-- name: revoke_key
update api_key set revoked_at = ? where id = ? and revoked_at is null

-- name: update_key
update api_key set
  name = :name, expires_at = :expires_at, is_disabled = :is_disabled, limit_nanos = :limit_nanos,
  requests_per_minute = :requests_per_minute, requests_per_hour = :requests_per_hour,
  requests_per_day = :requests_per_day, tokens_per_minute = :tokens_per_minute,
  concurrent_requests = :concurrent_requests, models = :models, addresses = :addresses
where id = :id and revoked_at is null

-- name: restart_key_period
update api_key set limit_period = ?, period_start = ?, spent_nanos = 0 where id = ?
