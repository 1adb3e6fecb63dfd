"""Those who run the shop: made, and let in again, from the machine it runs on."""

from __future__ import annotations

from reseller.actions.change import CONSOLE, Answer, change, customer_row, whole
from reseller.actions.customers import add_person
from reseller.actions.passwords import hash_password
from reseller.core import Core
from reseller.db import customers as rows
from reseller.errors import Forbidden

_GENERATED_LENGTH = 24


async def create_operator(
    core: Core, *, email: str, name: str = "", password: str | None = None, actor: str = CONSOLE
) -> Answer:
    """A customer who may run the shop. Without a password one is made and answered, once.

    A customer who is there already is not promoted: whoever knows their password would be too.
    """
    chosen = password if password is not None else core.ids.random_text(_GENERATED_LENGTH)
    hashed = await hash_password(chosen)
    made = await add_person(
        core, email=email, name=name, password_hash=hashed, is_operator=True, actor=actor
    )
    return made if password is not None else made | {"password": chosen}


@whole
async def reset_password(
    core: Core, *, email: str, password: str | None = None, actor: str = CONSOLE
) -> Answer:
    """A new password for an operator. Without one, one is made and answered, once."""
    row = await customer_row(core, email)
    if not row["is_operator"]:
        raise Forbidden(f"{row['email']} is not an operator.", code="not_an_operator")
    chosen = password if password is not None else core.ids.random_text(_GENERATED_LENGTH)
    hashed = await hash_password(chosen)
    await change(
        core,
        actor,
        "operator.reset_password",
        row["customer_id"],
        "",
        lambda db: rows.update_password(db, row["customer"], hashed),
    )
    answer = {"id": row["customer_id"], "email": row["email"], "changed": True}
    return answer if password is not None else answer | {"password": chosen}
