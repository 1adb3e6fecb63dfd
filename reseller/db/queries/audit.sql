-- Who changed what.

-- name: insert_audit
insert into audit (at, actor, action, subject, detail) values (?, ?, ?, ?, ?)

-- name: list_audit
select id, at, actor, action, subject, detail from audit
where (:before = 0 or id < :before)
order by id desc
limit :most
