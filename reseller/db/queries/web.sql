-- Statements of the pages that are not of any customer.

-- name: list_applied_migrations
select name from _sqlite_migrations where migration_set = ?
