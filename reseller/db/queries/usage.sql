-- Finished requests, as the operator sees them.

-- name: list_usage
select
  u.id, u.request_id, u.at, u.generation_id, u.status, u.outcome, u.is_stream, u.prompt_tokens,
  u.completion_tokens, u.cached_tokens, u.cache_write_tokens, u.reasoning_tokens, u.cost_picos,
  u.charge_nanos, u.written_off_nanos, u.markup_bps, u.fixed_nanos, u.first_byte_ms,
  u.duration_ms, m.name as model, k.public_id as key_id, k.name as key_name
from usage_record as u
left join model as m on m.id = u.model
left join api_key as k on k.id = u.api_key
where u.account = :account and (u.at, u.id) < (:before_at, :before_id)
order by u.at desc, u.id desc
limit :most

-- name: find_usage
select
  u.id, u.request_id, u.at, u.generation_id, u.status, u.outcome, u.is_stream, u.prompt_tokens,
  u.completion_tokens, u.cached_tokens, u.cache_write_tokens, u.reasoning_tokens, u.cost_picos,
  u.charge_nanos, u.written_off_nanos, u.markup_bps, u.fixed_nanos, u.first_byte_ms,
  u.duration_ms, m.name as model, k.public_id as key_id, k.name as key_name, u.account
from usage_record as u
left join model as m on m.id = u.model
left join api_key as k on k.id = u.api_key
where u.request_id = ?

-- name: list_holds_of_account
select
  h.request_id, h.opened_at, h.held_nanos, h.state, h.reason, h.generation_id, h.polls,
  m.name as model
from hold as h
left join model as m on m.id = h.model
where h.account = ?
order by h.opened_at desc
limit ?
