-- The proof of the books. Each statement that looks for something wrong gives a few rows of it.

-- name: sum_accounts
select
  sum(id >= 100) as accounts, coalesce(sum(balance_nanos), 0) as balance_nanos,
  coalesce(sum(case when id >= 100 then max(balance_nanos, 0) end), 0) as liability_nanos
from account

-- name: count_books
select
  (select count(*) from transfer) as transfers,
  (select count(*) from usage_record) as usage_records,
  (select count(*) from hold) as holds

-- name: find_wrong_balances
with moved as (
  select account, sum(nanos) as nanos from (
    select credit as account, sum(amount_nanos) as nanos from transfer group by credit
    union all
    select debit, -sum(amount_nanos) from transfer group by debit
  )
  group by account
)
select a.id, a.public_id, a.balance_nanos, coalesce(m.nanos, 0) as moved_nanos
from account as a
left join moved as m on m.account = a.id
where a.balance_nanos <> coalesce(m.nanos, 0)
limit :most

-- name: find_wrong_use
select a.id, a.public_id, a.used_nanos, coalesce(u.nanos, 0) as moved_nanos
from account as a
left join (
  select debit, sum(amount_nanos) as nanos from transfer where kind = 'usage' group by debit
) as u on u.debit = a.id
where a.used_nanos <> coalesce(u.nanos, 0)
limit :most

-- name: find_wrong_usage_transfers
select t.id, t.ref, t.amount_nanos, u.id as record, u.charge_nanos - u.written_off_nanos as paid_nanos
from transfer as t
left join usage_record as u on u.request_id = substr(t.ref, 5)
where t.kind = 'usage' and t.at >= :since and (
  substr(t.ref, 1, 4) <> 'use:' or u.id is null or u.account <> t.debit
  or u.charge_nanos - u.written_off_nanos <> t.amount_nanos
)
limit :most

-- name: find_wrong_write_offs
select t.id, t.ref, t.amount_nanos, u.id as record, u.written_off_nanos as paid_nanos
from transfer as t
left join usage_record as u on u.request_id = substr(t.ref, 5)
where t.kind = 'write_off' and t.at >= :since and (
  substr(t.ref, 1, 4) <> 'off:' or u.id is null or u.written_off_nanos <> t.amount_nanos
)
limit :most

-- name: find_uncharged_records
select u.id, u.request_id, u.charge_nanos, u.written_off_nanos
from usage_record as u
left join transfer as paid on paid.ref = 'use:' || u.request_id
left join transfer as off on off.ref = 'off:' || u.request_id
where coalesce(paid.amount_nanos, 0) <> u.charge_nanos - u.written_off_nanos
  or coalesce(off.amount_nanos, 0) <> u.written_off_nanos
limit :most

-- name: find_wrong_charges
-- ceil(cost * (10,000 + markup) / 10,000,000) + fixed, in parts that fit 64 bits.
select id, request_id, cost_picos, markup_bps, fixed_nanos, charge_nanos, least_nanos from (
  select id, request_id, cost_picos, markup_bps, fixed_nanos, charge_nanos, written_off_nanos,
    case when cost_picos = 0 then 0 else
      cost_picos / 10000000 * (10000 + markup_bps)
      + (cost_picos % 10000000 * (10000 + markup_bps) + 9999999) / 10000000 + fixed_nanos
    end as least_nanos
  from usage_record
)
where charge_nanos < least_nanos or (cost_picos = 0 and charge_nanos <> 0)
  or written_off_nanos < 0 or written_off_nanos > charge_nanos
limit :most

-- name: find_negative_balances
select a.id, a.public_id, a.balance_nanos
from account as a
where a.id >= 100 and a.balance_nanos < 0
  and not exists (select 1 from transfer where debit = a.id and kind = 'claw_back')
limit :most

-- name: find_repeated_refs
select ref, count(*) as times, min(id) as id from transfer group by ref having count(*) > 1
limit :most

-- name: list_movements
select
  kind, min(debit, 100) as debit, min(credit, 100) as credit, min(amount_nanos) as least_nanos,
  count(*) as transfers, min(id) as id
from transfer
group by 1, 2, 3

-- name: find_unknown_accounts
select t.id, t.debit, t.credit
from transfer as t
where not exists (select 1 from account where id = t.debit)
  or not exists (select 1 from account where id = t.credit)
limit :most

-- name: find_wrong_holds
select h.request_id, h.held_nanos, u.id as record
from hold as h
left join usage_record as u on u.request_id = h.request_id
where u.id is not null or h.held_nanos < 0
  or not exists (select 1 from account where id = h.account)
limit :most

-- name: list_transfer_triggers
select name from sqlite_master where type = 'trigger' and tbl_name = 'transfer'

-- name: sum_holds_by_account
select account, sum(held_nanos) as held_nanos, count(*) as holds from hold group by account

-- name: explain_balance
select
  a.balance_nanos,
  coalesce((select sum(amount_nanos) from transfer where credit = a.id), 0)
  - coalesce((select sum(amount_nanos) from transfer where debit = a.id), 0) as moved_nanos
from account as a
where a.id = ?
