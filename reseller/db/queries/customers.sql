-- People, the accounts they own, and what an operator changes about either.

-- name: insert_account
insert into account (public_id, name, created_at) values (?, ?, ?) returning id

-- name: insert_customer
insert into customer (public_id, email, name, password_hash, is_operator, created_at)
values (?, ?, ?, ?, ?, ?) returning id

-- name: insert_membership
insert into membership (customer, account, role) values (?, ?, 'owner')

-- name: has_email
select 1 from customer where email = ?

-- name: find_customer
select
  c.id as customer, c.public_id as customer_id, c.email, c.name, c.is_operator, c.created_at,
  c.password_hash is not null as has_password,
  a.id as account, a.public_id as account_id, a.balance_nanos, a.used_nanos, a.day_start,
  a.day_spent_nanos, a.daily_limit_nanos, a.requests_per_minute, a.requests_per_hour,
  a.requests_per_day, a.tokens_per_minute, a.concurrent_requests, a.suspended_at, a.frozen_at
from customer as c
join membership as m on m.customer = c.id
join account as a on a.id = m.account
where c.email = ? and c.closed_at is null
order by a.id
limit 1

-- name: list_customers
select
  c.public_id as customer_id, c.email, c.name, c.is_operator, c.created_at,
  a.public_id as account_id, a.balance_nanos, a.used_nanos, a.suspended_at, a.frozen_at,
  coalesce(h.held_nanos, 0) as held_nanos,
  (select count(*) from api_key where account = a.id and revoked_at is null) as api_keys
from customer as c
join membership as m on m.customer = c.id
join account as a on a.id = m.account
left join (
  select account, sum(held_nanos) as held_nanos from hold group by account
) as h on h.account = a.id
where c.closed_at is null and (:part = '' or instr(lower(c.email || ' ' || c.name), :part))
order by c.id desc
limit :most offset :skip

-- name: count_customers
select count(*) as customers from customer as c
where c.closed_at is null and (:part = '' or instr(lower(c.email || ' ' || c.name), :part))

-- name: sum_holds_of_account
select coalesce(sum(held_nanos), 0) as held_nanos, count(*) as holds from hold where account = ?

-- name: suspend_account
update account set suspended_at = ? where id = ? and suspended_at is null

-- name: unsuspend_account
update account set suspended_at = null where id = ? and suspended_at is not null

-- name: unfreeze_account
update account set frozen_at = null where id = ? and frozen_at is not null

-- name: update_account_limits
update account set
  requests_per_minute = ?, requests_per_hour = ?, requests_per_day = ?, tokens_per_minute = ?,
  concurrent_requests = ?, daily_limit_nanos = ?
where id = ?

-- name: update_password
update customer set password_hash = ? where id = ?
