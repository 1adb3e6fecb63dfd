-- The shop in figures. Days that were summed, and the rows that were not yet.

-- name: sum_usage_since
with everything as (
  select requests, errors, prompt_tokens, completion_tokens, cost_picos, charge_nanos,
    written_off_nanos
  from usage_day
  where start_at >= :since
  union all
  select 1, status >= 400, prompt_tokens, completion_tokens, coalesce(cost_picos, 0),
    charge_nanos, written_off_nanos
  from usage_record
  where at >= :since and id > coalesce(
    (select cast(value as integer) from setting where name = 'rollup_mark'), 0
  )
)
select
  coalesce(sum(requests), 0) as requests, coalesce(sum(errors), 0) as errors,
  coalesce(sum(prompt_tokens), 0) as prompt_tokens,
  coalesce(sum(completion_tokens), 0) as completion_tokens,
  coalesce(sum(cost_picos), 0) as cost_picos, coalesce(sum(charge_nanos), 0) as charge_nanos,
  coalesce(sum(written_off_nanos), 0) as written_off_nanos
from everything

-- name: sum_holds_by_state
select state, count(*) as holds, coalesce(sum(held_nanos), 0) as held_nanos
from hold
group by state

-- name: sum_exposures
select
  count(*) as exposures, coalesce(sum(held_nanos), 0) as held_nanos,
  coalesce(sum(charge_nanos), 0) as charge_nanos
from exposure

-- name: sum_customers
select
  count(*) as customers,
  coalesce(sum(a.suspended_at is not null), 0) as suspended,
  coalesce(sum(a.frozen_at is not null), 0) as frozen,
  coalesce(sum(max(a.balance_nanos, 0)), 0) as liability_nanos,
  coalesce(sum(min(a.balance_nanos, 0)), 0) as debt_nanos
from account as a
where a.id >= 100

-- name: list_house_balances
select id, balance_nanos from account where id < 99 order by id
