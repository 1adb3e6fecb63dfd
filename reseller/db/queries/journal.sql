-- Statements of the journal. Each takes one JSON array of rows, so that a whole group is a handful
-- of statements: every statement gives the interpreter lock away once, and getting it back from a
-- busy event loop is what costs.

-- name: insert_holds
insert into hold (
  request_id, account, api_key, model, opened_at, held_nanos, markup_bps, fixed_nanos,
  minimum_nanos, prompt_nanos, is_stream
)
select
  value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
  value ->> 7, value ->> 8, value ->> 9, value ->> 10
from json_each(?)
where true
on conflict (request_id) do update set held_nanos = excluded.held_nanos

-- name: identify_holds
update hold set generation_id = j.value ->> 1
from json_each(?) as j
where hold.request_id = j.value ->> 0

-- name: park_holds
update hold set
  state = 'pending', reason = j.value ->> 1, estimate_nanos = j.value ->> 2,
  client_left = j.value ->> 3, parked_at = j.value ->> 4,
  generation_id = coalesce(j.value ->> 5, generation_id)
from json_each(?) as j
where hold.request_id = j.value ->> 0

-- name: delete_holds
delete from hold where request_id in (select value from json_each(?))

-- name: insert_usage_records
insert into usage_record (
  request_id, account, api_key, model, at, generation_id, status, outcome, is_stream,
  prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
  cost_picos, charge_nanos, written_off_nanos, markup_bps, fixed_nanos, first_byte_ms, duration_ms
)
select
  value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
  value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13,
  value ->> 14, value ->> 15, value ->> 16, value ->> 17, value ->> 18, value ->> 19, value ->> 20
from json_each(?)

-- name: insert_transfers
insert into transfer (debit, credit, amount_nanos, kind, ref, at, note)
select
  value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
from json_each(?)

-- name: update_balances
update account set
  balance_nanos = j.value ->> 2,
  used_nanos = used_nanos + (j.value ->> 3),
  day_spent_nanos = case when (j.value ->> 4) > day_start then 0 else day_spent_nanos end
    + (j.value ->> 3),
  day_start = max(day_start, j.value ->> 4)
from json_each(?) as j
where account.id = j.value ->> 0 and account.balance_nanos = j.value ->> 1

-- name: update_key_spend
update api_key set
  used_nanos = used_nanos + (j.value ->> 1),
  spent_nanos = case when (j.value ->> 2) > period_start then 0 else spent_nanos end
    + (j.value ->> 1),
  period_start = max(period_start, j.value ->> 2),
  last_used_at = max(coalesce(last_used_at, 0), j.value ->> 3)
from json_each(?) as j
where api_key.id = j.value ->> 0

-- name: insert_exposures
insert into exposure (
  request_id, account, api_key, model, opened_at, written_at, held_nanos, charge_nanos, reason
)
select
  value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
  value ->> 7, value ->> 8
from json_each(?)

-- name: insert_transfer_once
insert into transfer (debit, credit, amount_nanos, kind, ref, at, note)
values (?, ?, ?, ?, ?, ?, ?)
on conflict (ref) do nothing

-- name: update_balance
update account set balance_nanos = ? where id = ? and balance_nanos = ?

-- name: list_balances
select id, balance_nanos from account

-- name: list_holds
select
  request_id, account, api_key, model, opened_at, held_nanos, markup_bps, fixed_nanos,
  minimum_nanos, prompt_nanos, is_stream, generation_id, state, reason, estimate_nanos,
  client_left, parked_at, polls
from hold
order by opened_at

-- name: count_poll
update hold set polls = polls + 1 where request_id = ?
