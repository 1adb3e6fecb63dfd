"""`reseller config init|check|show|schema`, as an operator types them."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from reseller.cli.config_commands import config
from reseller.config_schema import all_keys

KEY = "sk-or-v1-" + "a1b2c3d4" * 8
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `reseller config …` in an empty working directory without variables of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESELLER_CONFIG", raising=False)

    def run(*words: str, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(config, words, env=env, catch_exceptions=False)

    return run


def test_init_writes_the_example_for_its_owner_alone(run: Run) -> None:
    """The file holds every key, has mode 0600 from birth, and passes its own check."""
    result = run("init")
    assert result.exit_code == 0
    assert "reseller.toml" in result.stdout
    written = Path("reseller.toml")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    example = Path(__file__).parent.parent.parent / "reseller.toml.example"
    assert written.read_text() == example.read_text()
    assert run("check").exit_code == 0


def test_init_never_overwrites(run: Run) -> None:
    """A file that is there stays as it is, and so does what a link points to."""
    Path("reseller.toml").write_text("# mine\n")
    result = run("init")
    assert result.exit_code == 1
    assert "reseller.toml is there already" in result.stderr
    assert Path("reseller.toml").read_text() == "# mine\n"
    Path("link.toml").symlink_to("elsewhere.toml")
    assert run("init", "--config", "link.toml").exit_code == 1
    assert not Path("elsewhere.toml").exists()


def test_init_writes_where_it_is_told(run: Run) -> None:
    """`--config` or $RESELLER_CONFIG say where; a folder that is missing is a failure."""
    assert run("init", "--config", "a.toml").exit_code == 0
    assert run("init", env={"RESELLER_CONFIG": "b.toml"}).exit_code == 0
    assert Path("a.toml").read_text() == Path("b.toml").read_text()
    result = run("init", "--config", "no/where.toml")
    assert result.exit_code == 1
    assert result.stderr == "no/where.toml cannot be written: no such file or directory\n"


def test_check_names_every_mistake_and_exits_2(run: Run) -> None:
    """The lines go to standard error; with `--json` one object says the same."""
    Path("reseller.toml").write_text("[limits]\nrequests_per_minut = 1\n[server]\nlisten = 3\n")
    result = run("check")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "reseller.toml:2: limits.requests_per_minut: unknown key,"
        " did you mean requests_per_minute?",
        "reseller.toml:4: server.listen: expected host:port such as 127.0.0.1:8080, found 3",
    ]
    as_json = run("check", "--json")
    assert as_json.exit_code == 2
    said = json.loads(as_json.stdout)
    assert said["ok"] is False
    assert said["problems"][0] == {
        "source": "reseller.toml",
        "line": 2,
        "key": "limits.requests_per_minut",
        "message": "unknown key, did you mean requests_per_minute?",
    }


def test_check_says_what_it_checked(run: Run) -> None:
    """Which file was read and which mode it would start."""
    assert run("check").stdout == "No file, defaults only: no mistakes (sandbox mode)\n"
    Path("reseller.toml").write_text(f"[upstream]\napi_key = '{KEY}'\n")
    assert run("check").stdout == "reseller.toml: no mistakes (live mode)\n"
    assert json.loads(run("check", "--json").stdout) == {
        "ok": True,
        "problems": [],
        "file": "reseller.toml",
        "mode": "live",
    }


def test_show_prints_each_value_with_its_origin(run: Run) -> None:
    """Every key once, in the notation of the file; the key masked."""
    Path("reseller.toml").write_text(f"[upstream]\napi_key = '{KEY}'\n[pricing]\nmarkup = 30\n")
    env = {"RESELLER__LIMITS__REQUESTS_PER_DAY": "7"}
    result = run("show", env=env)
    assert result.exit_code == 0
    assert KEY not in result.stdout
    first, *lines = result.stdout.splitlines()
    assert first == "# reseller.toml (live mode)"
    shown = {tuple(part.strip() for part in line.split("  # ")) for line in lines}
    assert len(lines) == len(all_keys())
    assert ('upstream.api_key = "sk-or-…c3d4"', "file:2") in shown
    assert ('pricing.markup = "30%"', "file:4") in shown
    assert (
        "limits.requests_per_day = 7",
        "env RESELLER__LIMITS__REQUESTS_PER_DAY",
    ) in shown
    assert ('server.listen = "127.0.0.1:8080"', "default") in shown


def test_show_as_json_is_one_object(run: Run) -> None:
    """Programs read the same values, typed."""
    result = run("show", "--json", env={"RESELLER__METRICS__TOKEN": KEY})
    assert KEY not in result.stdout
    said = json.loads(result.stdout)
    assert (said["file"], said["mode"]) == (None, "sandbox")
    assert list(said["settings"]) == list(all_keys())
    assert said["settings"]["server.body_limit_mb"] == {"value": 16, "origin": "default"}
    assert said["settings"]["metrics.token"] == {
        "value": "sk-or-…c3d4",
        "origin": "env RESELLER__METRICS__TOKEN",
    }


def test_show_of_a_wrong_configuration_exits_2(run: Run) -> None:
    """What cannot be used is not shown as if it were."""
    result = run("show", "--config", "gone.toml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "gone.toml: cannot be read: no such file or directory\n"


def test_schema_is_a_json_schema(run: Run) -> None:
    """Editors can use what is printed."""
    printed = json.loads(run("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed["properties"]["server"]["properties"]["engine"]["enum"] == [
        "hypercorn",
        "granian",
    ]
