"""`python -m reseller`, and what the packed file runs."""

from __future__ import annotations

import multiprocessing

from reseller.cli import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    main(prog_name="reseller")
