-- Price rules. One a pattern and account; no account means everyone.

-- name: save_price_rule
insert into price_rule (
  pattern, account, markup_bps, fixed_nanos, minimum_nanos, priority, is_block, created_at
)
values (
  :pattern, :account, :markup_bps, :fixed_nanos, :minimum_nanos, :priority, :is_block, :created_at
)
on conflict (pattern, coalesce(account, 0)) do update set
  markup_bps = excluded.markup_bps, fixed_nanos = excluded.fixed_nanos,
  minimum_nanos = excluded.minimum_nanos, priority = excluded.priority,
  is_block = excluded.is_block

-- name: find_price_rule
select id, pattern, account, markup_bps, fixed_nanos, minimum_nanos, priority, is_block
from price_rule
where pattern = ? and coalesce(account, 0) = coalesce(?, 0)

-- name: delete_price_rule
delete from price_rule where pattern = ? and coalesce(account, 0) = coalesce(?, 0)

-- name: list_rules_with_owner
select
  r.id, r.pattern, r.account, r.markup_bps, r.fixed_nanos, r.minimum_nanos, r.priority,
  r.is_block, min(c.email) as email
from price_rule as r
left join membership as m on m.account = r.account
left join customer as c on c.id = m.customer
group by r.id
order by r.account is null, r.priority desc, length(r.pattern) desc, r.id desc
