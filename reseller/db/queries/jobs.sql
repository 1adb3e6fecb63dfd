-- Statements of scheduled jobs.

-- name: save_job_run
insert into job_run (name, started_at, ended_at, outcome, detail) values (?, ?, ?, ?, ?)
on conflict (name) do update set
  started_at = excluded.started_at, ended_at = excluded.ended_at,
  outcome = excluded.outcome, detail = excluded.detail

-- name: list_job_runs
select name, started_at, ended_at, outcome, detail from job_run

-- name: find_setting
select value from setting where name = ?

-- name: list_model_entries
select name, entry, withdrawn_at from model where entry is not null

-- name: save_models
insert into model (name, entry, seen_at)
select value ->> 0, value ->> 1, value ->> 2 from json_each(?)
where true
on conflict (name) do update set
  entry = excluded.entry, seen_at = excluded.seen_at, withdrawn_at = null

-- name: withdraw_models
update model set withdrawn_at = ? where name in (select value from json_each(?))

-- name: save_model_endpoints
update model set endpoints = ? where name = ?

-- name: sum_recent_cost
select coalesce(sum(cost_picos), 0) as cost_picos from usage_hour where start_at >= ?

-- name: find_rollup_end
select max(id) as id from (select id from usage_record where id > ? order by id limit ?)

-- name: roll_up_hours
insert into usage_hour (
  account, start_at, api_key, model, requests, errors, prompt_tokens, completion_tokens,
  cached_tokens, reasoning_tokens, cost_picos, charge_nanos, written_off_nanos, first_byte_ms,
  duration_ms
)
select
  account, at - at % 3600000, api_key, model, count(*), sum(status >= 400), sum(prompt_tokens),
  sum(completion_tokens), sum(cached_tokens), sum(reasoning_tokens), sum(coalesce(cost_picos, 0)),
  sum(charge_nanos), sum(written_off_nanos), sum(coalesce(first_byte_ms, 0)), sum(duration_ms)
from usage_record
where id > ? and id <= ?
group by 1, 2, 3, 4
on conflict (account, start_at, api_key, model) do update set
  requests = requests + excluded.requests,
  errors = errors + excluded.errors,
  prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
  cost_picos = cost_picos + excluded.cost_picos,
  charge_nanos = charge_nanos + excluded.charge_nanos,
  written_off_nanos = written_off_nanos + excluded.written_off_nanos,
  first_byte_ms = first_byte_ms + excluded.first_byte_ms,
  duration_ms = duration_ms + excluded.duration_ms

-- name: roll_up_days
insert into usage_day (
  account, start_at, api_key, model, requests, errors, prompt_tokens, completion_tokens,
  cached_tokens, reasoning_tokens, cost_picos, charge_nanos, written_off_nanos, first_byte_ms,
  duration_ms
)
select
  account, at - at % 86400000, api_key, model, count(*), sum(status >= 400), sum(prompt_tokens),
  sum(completion_tokens), sum(cached_tokens), sum(reasoning_tokens), sum(coalesce(cost_picos, 0)),
  sum(charge_nanos), sum(written_off_nanos), sum(coalesce(first_byte_ms, 0)), sum(duration_ms)
from usage_record
where id > ? and id <= ?
group by 1, 2, 3, 4
on conflict (account, start_at, api_key, model) do update set
  requests = requests + excluded.requests,
  errors = errors + excluded.errors,
  prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
  cost_picos = cost_picos + excluded.cost_picos,
  charge_nanos = charge_nanos + excluded.charge_nanos,
  written_off_nanos = written_off_nanos + excluded.written_off_nanos,
  first_byte_ms = first_byte_ms + excluded.first_byte_ms,
  duration_ms = duration_ms + excluded.duration_ms

-- name: prune_usage_records
-- Looks at the oldest rows only; the newest row stays, so that no id is ever given out twice.
delete from usage_record
where id in (
  select id from (select id, at from usage_record where id <= :mark order by id limit :batch)
  where at < :before
)
and id < (select max(id) from usage_record)

-- name: sample_rolled_hours
select account, start_at
from usage_hour
where start_at >= ? and start_at < ?
order by start_at desc, account
limit ? offset ?

-- name: compare_hour
-- One statement, so that both sides and the mark are of the same moment.
select
  (select coalesce(sum(charge_nanos), 0) from usage_hour
    where account = :account and start_at = :start) as hour_charge_nanos,
  (select coalesce(sum(cost_picos), 0) from usage_hour
    where account = :account and start_at = :start) as hour_cost_picos,
  (select coalesce(sum(requests), 0) from usage_hour
    where account = :account and start_at = :start) as hour_requests,
  coalesce(sum(charge_nanos), 0) as charge_nanos,
  coalesce(sum(cost_picos), 0) as cost_picos,
  count(*) as requests
from usage_record
where account = :account and at >= :start and at < :start + 3600000
  and id <= (select cast(value as integer) from setting where name = 'rollup_mark')

-- name: save_alarms
insert into alarm (kind, detail, first_at, last_at, times)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 from json_each(?)
where true
on conflict (kind) where cleared_at is null do update set
  detail = excluded.detail, last_at = excluded.last_at, times = max(times, excluded.times)

-- name: clear_alarms
update alarm set cleared_at = ?
where cleared_at is null and kind in (select value from json_each(?))

-- name: list_standing_alarms
select kind, detail, first_at, last_at, times from alarm where cleared_at is null

-- name: list_daily_limits
select id, daily_limit_nanos from account where id in (select value from json_each(?))
