"""The command line. Every module of weight is imported by the command that needs it, so that
`reseller version` and `--help` answer at once."""

from __future__ import annotations

from pathlib import Path

import click

from reseller import __version__
from reseller.cli.config_commands import config
from reseller.cli.customers import admin, customer
from reseller.cli.keys import key
from reseller.cli.money import credit, limits, pricing, usage
from reseller.cli.run import migrate, sandbox, serve, version
from reseller.cli.shell import Shell
from reseller.cli.shop import admission, audit, job, ledger, stats, terms

_COMMANDS = (
    *(serve, config, admin, customer, key, credit, limits, pricing, usage, stats),
    *(ledger, admission, terms, audit, job, migrate, sandbox, version),
)


class Ordered(click.Group):
    """A group that lists its commands in the order they are used in, not by letter."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands as they were added."""
        return list(self.commands)


@click.group(cls=Ordered, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Else $RESELLER_CONFIG, ./reseller.toml, /etc/reseller/reseller.toml.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Data folder, over what the configuration says.",
)
@click.version_option(__version__, prog_name="reseller", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, config_path: Path | None, data_dir: Path | None) -> None:
    """A shop for AI models on top of an upstream account: prepaid credit, exact books."""
    given = context.obj if isinstance(context.obj, Shell) else Shell()
    context.obj = Shell(config_path, data_dir, patience_s=given.patience_s)
    if config_path is not None:
        # `config` has an option of its own for the same file.
        context.default_map = {
            "config": {name: {"path": str(config_path)} for name in config.commands}
        }


for _command in _COMMANDS:
    main.add_command(_command)
