"""A backtest as a ZIP file that anybody can play again: what it was played by, the strategies' files, what it came to.

`result.json` states what is verified, and the fingerprint is taken of it, so that equal runs have equal ones;
`run.json` says when and where it was saved. Beside them stand the strategies' files, checksums of each bar, and all
orders, fills and values of the account as CSV. A file of a stranger's is not trusted: nothing of it is unpacked by name.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.events import is_symbol
from liualgotrader.common.files import replace_file

FORMAT = 1
CODE, CHECKS = "code/", "data.checks"
PACKAGE = "<package>/"
TABLES = ("orders", "fills", "equity")
_RESULT, _RUN = "result.json", "run.json"
_LARGEST = 500_000_000  # bytes of all that is read, unpacked
_SHOWN = 32  # digits of the fingerprint
_PLAIN_NAME = re.compile(r"(?:[\w+\-=@,][\w+\-=@,. ]*/)*[\w+\-=@,][\w+\-=@,. ]*\.py")  # no part begins with a dot
_ANCIENT = (1980, 1, 1, 0, 0, 0)  # the first time that a ZIP file can say


class BarsRead(msgspec.Struct, frozen=True):
    """What a backtest read of one symbol: how many bars, a hash of them, and what happened to the shares."""

    bars: int
    sha256: str
    splits: list[str] = []
    dividends: list[str] = []


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a saved result states: by what it was played, and what it came to.

    `code` has the SHA-256 of each file of the strategies, by its place below the folder that holds them all, in which the
    tradeplan lay in `folder`; files of this package are named `<package>/…`. `seals` has that of each setting, `tables`
    those of the other members.
    """

    format: int
    settings: dict[str, Any]
    tradeplan: dict[str, Any]
    folder: str
    code: dict[str, str]
    data: dict[str, BarsRead]
    tables: dict[str, str]
    figures: dict[str, Any]
    seals: dict[str, str]


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """When, where and by which programs a result was saved. `data` is the folder of its bars, `kept` a batch's own."""

    batch_id: str
    saved_at: str
    command: str
    versions: dict[str, str]
    package: str  # hash of this package's files
    data: str = ""
    kept: str = ""


class SavedResult(msgspec.Struct, frozen=True):
    """A saved result; `members` are its other files by name."""

    statement: Statement
    run: Circumstances
    members: dict[str, bytes]

    @property
    def fingerprint(self) -> str:
        """What equal results have in common, and others do not."""
        return sha256_of(encoded(self.statement))[:_SHOWN]


class _OfFormat(msgspec.Struct):
    format: int


def encoded(value: Any) -> bytes:
    """Return JSON in the order of the values: that of strategies decides which orders come first."""
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of bytes as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def result_place(name: str | Path) -> Path:
    """Return where a result is to be written; an empty name is one that nothing is written to.

    Raises:
        ConfigError: if it is a folder, or in one that is not there.
    """
    path = Path(name).expanduser()
    if name and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ConfigError(
            f"the result cannot be saved as {name}: name a file in a folder that is there, like result.zip"
        )
    return path


def write_result(path: Path, saved: SavedResult) -> None:
    """Write a result in place of the file that is there; equal results differ in `run.json` alone.

    Raises:
        OutsideError: if it cannot be written.
    """
    held = BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        stated = {_RESULT: encoded(saved.statement), _RUN: encoded(saved.run)}
        for name, data in {**stated, **dict(sorted(saved.members.items()))}.items():
            entry = zipfile.ZipInfo(name, _ANCIENT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    try:
        replace_file(path, held.getvalue())
    except OSError as error:
        raise OutsideError(f"the result cannot be written to {path} ({error.strerror}): name another file") from error


def read_result(path: Path) -> SavedResult:
    """Return what a file of `--save` holds.

    Raises:
        ConfigError: in one sentence, for what is no such file, or is damaged, or comes from another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error}): name a file of `--save`") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, ValueError) as error:
        raise ConfigError(f"{path} is no whole ZIP file ({error}): get it once more") from None
    except (RuntimeError, NotImplementedError):  # a password, an unknown method
        raise ConfigError(f"{path} is packed in a way that no result is: get it as `--save` wrote it") from None
    return _checked(path, members)


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    """Return the contents of all that a result may hold, each unpacked in memory alone."""
    wanted = {_RESULT, _RUN, CHECKS, *(f"{name}.csv" for name in TABLES)}
    entries = {e.filename: e for e in archive.infolist() if e.filename in wanted or e.filename.startswith(CODE)}
    if lacking := sorted(wanted - entries.keys()):
        raise ConfigError(f"{path} holds no {lacking[0]}, so that it is no result: name a file of `--save`")
    if (size := sum(entry.file_size for entry in entries.values())) > _LARGEST:
        raise ConfigError(
            f"{path} would unpack to {size:,} bytes, of at most {_LARGEST:,}: it is no result of a backtest"
        )
    return {name: archive.read(entry) for name, entry in entries.items()}


def _checked(path: Path, members: dict[str, bytes]) -> SavedResult:
    try:
        if (found := msgspec.json.decode(members[_RESULT], type=_OfFormat).format) != FORMAT:
            raise ConfigError(f"{path} is of format {found}, and this version reads {FORMAT}: verify it with its own")
        saved = SavedResult(
            msgspec.json.decode(members.pop(_RESULT), type=Statement),
            msgspec.json.decode(members.pop(_RUN), type=Circumstances),
            members,
        )
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} states what no result does ({error}): get it as `--save` wrote it") from None
    names = [name for name in saved.statement.code if not name.startswith(PACKAGE)]
    places = [*names, f"{saved.statement.folder}/plan.py".removeprefix("./")]
    if strange := [name for name in places if not plain_name(name)]:
        raise ConfigError(
            f"{path} names a file {strange[0]!r:.80}, which is no place below a folder: it is not trusted"
        )
    if strange := [symbol for symbol in saved.statement.data if not is_symbol(symbol)]:
        raise ConfigError(f"{path} has bars of {strange[0]!r:.80}, which is no symbol: it is not trusted")
    if lacking := [name for name in names if CODE + name not in members]:
        raise ConfigError(f"{path} lacks the file {lacking[0]}: get it as `--save` wrote it")
    return saved


def plain_name(name: str) -> bool:
    """Whether a file of such a name lies below the folder that it is put into, wherever that is."""
    return _PLAIN_NAME.fullmatch(name) is not None


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return tables within tables as one, by dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {prefix + name: value}
    return found


def seals_of(settings: Mapping[str, Any], tradeplan: Mapping[str, Any]) -> dict[str, str]:
    """Return a short hash of each setting and each key of a tradeplan, by its name."""
    named = {**flat(settings), **flat(tradeplan, "tradeplan.")}
    return {name: sha256_of(msgspec.json.encode(value, order="sorted"))[:16] for name, value in named.items()}


def broken_seals(saved: SavedResult) -> list[str]:
    """Return a sentence for each thing that was changed after the result was saved, as far as that shows."""
    stated, after = saved.statement, "was changed after the result was saved"
    there = seals_of(stated.settings, stated.tradeplan)
    settings = [
        name for name in [*stated.seals, *(there.keys() - stated.seals)] if there.get(name) != stated.seals.get(name)
    ]
    hashes = {name: sha256_of(data) for name, data in saved.members.items()}
    wanted = {CODE + name: value for name, value in stated.code.items() if not name.startswith(PACKAGE)}
    wanted |= {name: stated.tables.get(name, "") for name in (CHECKS, *(f"{table}.csv" for table in TABLES))}
    files = [name for name, value in wanted.items() if hashes.get(name) != value]
    return [f"the setting {name!r} {after}" for name in settings] + [
        f"the file {name.removeprefix(CODE)} {after}" for name in files
    ]
