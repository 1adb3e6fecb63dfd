"""The named statements: each is written once and run by some module."""

from __future__ import annotations

import importlib
import pkgutil

import reseller
from reseller.db.sql import SQL, undeclared


def test_every_statement_is_run_by_some_module() -> None:
    """What is used but not written stops the import; what is written but not used is here."""
    for module in pkgutil.walk_packages(reseller.__path__, "reseller."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert SQL
    assert undeclared() == set()
