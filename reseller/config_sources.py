"""What flags, environment and file say, each with its place, before it is known to be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from reseller.config_kinds import BadValue, FilePath
from reseller.config_lines import BadSyntax, key_lines, read_toml
from reseller.config_schema import SECTIONS, Key, all_keys, keys_of

SEARCHED = (Path("reseller.toml"), Path("/etc/reseller/reseller.toml"))
PATH_VARIABLE = "RESELLER_CONFIG"
_PREFIX = "RESELLER__"
_FILE = "_file"
# Flags that are not named after the last part of their key.
_FLAGS = {"data.dir": "--data-dir"}


class Problem(NamedTuple):
    """One mistake; `source` is the file, the environment variable or the flag it stands in."""

    source: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds every mistake found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Said(NamedTuple):
    """One value as somebody set it. `is_text`: not typed yet. `is_file`: the name of a file."""

    source: str
    line: int | None
    origin: str
    value: object
    is_text: bool = False
    is_file: bool = False


Layer: TypeAlias = dict[str, Said]


def config_path(path: Path | None, env: Mapping[str, str]) -> Path | None:
    """The file to read: the one asked for, even if it is not there; else the first that is."""
    if path:
        return path
    if named := env.get(PATH_VARIABLE):
        return Path(named)
    return next((each for each in SEARCHED if each.is_file()), None)


def flag_layer(flags: Mapping[str, object]) -> Layer:
    """What the command line says; None means that the flag was not given."""
    layer: Layer = {}
    for key, value in flags.items():
        assert key in all_keys(), key
        flag = _FLAGS.get(key) or "--" + key.rpartition(".")[2].replace("_", "-")
        if value is not None:
            layer[key] = Said(flag, None, f"flag {flag}", value, is_text=isinstance(value, str))
    return layer


def env_layer(env: Mapping[str, str], problems: list[Problem]) -> Layer:
    """What `RESELLER__SECTION__KEY` variables say; unknown ones are problems."""
    layer: Layer = {}
    for variable in sorted(env):
        if not variable.startswith(_PREFIX):
            continue
        path = variable.removeprefix(_PREFIX).lower().replace("__", ".", 1)
        key, is_file = _known(path)
        if not key:
            near = _nearest(path)
            hint = f", did you mean {_variable(near)}?" if near else ""
            problems.append(Problem(variable, None, path, f"unknown key{hint}"))
            continue
        said = Said(variable, None, f"env {variable}", env[variable], True, is_file)
        _add(layer, key, said, problems)
    return layer


def file_layer(path: Path, problems: list[Problem]) -> Layer:
    """What a TOML file says; raises ConfigError alone where it cannot be read at all."""
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        tables = read_toml(text)
    except OSError as failed:
        raise ConfigError([Problem(str(path), None, "", _reason(failed))]) from None
    except UnicodeDecodeError as bad:
        before = bad.object[: bad.start].count(b"\n")
        raise ConfigError([Problem(str(path), before + 1, "", "is not UTF-8 text")]) from None
    except BadSyntax as bad:
        raise ConfigError([Problem(str(path), bad.line, "", f"not TOML: {bad}")]) from None
    lines = key_lines(text)
    layer: Layer = {}
    for section, table in tables.items():
        line = lines.get((section,))
        if section not in SECTIONS:
            what = _unknown_section(section, is_table=not _is_plain(table))
            problems.append(Problem(str(path), line, section, what))
        elif not isinstance(table, Mapping):
            problems.append(Problem(str(path), line, section, f"expected one section [{section}]"))
        else:
            for name, value in table.items():
                at = lines.get((section, name), line)
                _add_from_file(layer, path, at, f"{section}.{name}", value, problems)
    return layer


def read_said(key: Key, said: Said, problems: list[Problem]) -> object:
    """The value as its key keeps it; None, and perhaps one more problem, where there is none."""
    try:
        if said.is_file:
            return key.kind.read(_secret_in(key, said.value))
        if said.is_text:
            assert isinstance(said.value, str)
            return key.kind.from_text(said.value)
        return key.kind.read(said.value)
    except BadValue as bad:
        name = key.path + _FILE if said.is_file else key.path
        problems.append(Problem(said.source, said.line, name, str(bad)))
        return None


def _secret_in(key: Key, named: object) -> object:
    """What the file holding a secret says; for a list, one entry on each line."""
    path = FilePath(may_be_empty=False).read(named)
    assert path
    try:
        text = path.read_text("utf-8").strip()
    except OSError as failed:
        raise BadValue(f"{path}: {_reason(failed)}") from None
    except UnicodeDecodeError:
        raise BadValue(f"{path}: is not UTF-8 text") from None
    if not text:
        raise BadValue(f"{path}: is empty")
    return text.split() if key.kind.is_list else text


def _add_from_file(
    layer: Layer, path: Path, line: int | None, name: str, value: object, problems: list[Problem]
) -> None:
    key, is_file = _known(name)
    if key:
        said = Said(str(path), line, f"file:{line}", value, is_file=is_file)
        _add(layer, key, said, problems)
        return
    near = _nearest(name)
    section = name.partition(".")[0]
    hint = f", did you mean {near.removeprefix(section + '.')}?" if near else ""
    problems.append(Problem(str(path), line, name, f"unknown key{hint}"))


def _add(layer: Layer, key: Key, said: Said, problems: list[Problem]) -> None:
    """Put a value into its layer; a secret may be given itself or by its file, not both."""
    if said.is_file and said.value == "":
        return
    other = layer.get(key.path)
    if other and other.value not in ("", []) and said.value not in ("", []):
        message = f"give {key.name} or {key.name}{_FILE}, not both"
        problems.append(Problem(said.source, said.line, key.path, message))
    elif not other or said.value not in ("", []):
        layer[key.path] = said


def _known(path: str) -> tuple[Key | None, bool]:
    """The key behind a path, and whether the path names it by its file."""
    if key := all_keys().get(path):
        return key, False
    key = all_keys().get(path.removesuffix(_FILE)) if path.endswith(_FILE) else None
    return (key, True) if key and key.kind.is_secret else (None, False)


def _nearest(path: str) -> str:
    """The path that was perhaps meant: in the same section, else the same name in another."""
    section, _, name = path.partition(".")
    if section not in SECTIONS:
        section = _closest(section, SECTIONS) or section
    names = [key.name for key in keys_of(section)] if section in SECTIONS else []
    if near := _closest(name, names):
        return f"{section}.{near}"
    return next((each.path for each in all_keys().values() if each.name == name), "")


def _closest(word: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word, list(known), 1, 0.7)), "")


def _unknown_section(name: str, *, is_table: bool) -> str:
    if is_table:
        near = _closest(name, SECTIONS)
        return f"unknown section, did you mean {near}?" if near else "unknown section"
    near = next((each.path for each in all_keys().values() if each.name == name), "")
    return "stands in no section" + (f", did you mean {near}?" if near else "")


def _is_plain(value: object) -> bool:
    """Whether this is a value and not a section or a list of sections."""
    first = value[0] if isinstance(value, list) and value else value
    return not isinstance(first, Mapping)


def _variable(path: str) -> str:
    return _PREFIX + path.replace(".", "__", 1).upper()


def _reason(failed: OSError) -> str:
    return f"cannot be read: {(failed.strerror or str(failed)).lower()}"
