"""Where the packed file begins."""

import multiprocessing

from reseller.cli import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    main(prog_name="reseller")
