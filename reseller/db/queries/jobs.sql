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
