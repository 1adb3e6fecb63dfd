-- Transfers looked up one by one; the journal alone writes them.

-- name: find_transfer
select id, debit, credit, amount_nanos, kind, ref, at, note from transfer where ref = ?

-- name: list_transfers_of_account
select id, debit, credit, amount_nanos, kind, ref, at, note from (
  select * from transfer where credit = :account and credit >= 100
  union all
  select * from transfer where debit = :account and debit >= 100 and kind <> 'usage'
)
order by id desc
limit :most
