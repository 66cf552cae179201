"""Save all databases of a cluster into one file, and put them back: all or nothing."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.postgres.binaries import run_program
from liualgotrader.postgres.cluster import SUPERUSER, Cluster

_SUFFIX = ".dump"  # one archive of pg_dump's custom format for each database, inside a tar file
_MEMBER = re.compile(rf"[a-z_][a-z0-9_]*{re.escape(_SUFFIX)}")
# By number: a name with something behind it may exceed 63 bytes, and PostgreSQL would cut it to another database's.
_INCOMING = "_incoming_{}"
_REPLACED = "_replaced_{}"
_SECONDS = 3600.0

LIST_DATABASES = """
    SELECT datname FROM pg_database
    WHERE NOT datistemplate AND datname <> 'postgres' AND datname !~ '^_(incoming|replaced)_[0-9]+$'
    ORDER BY datname
"""


def databases(cluster: Cluster, dsn: str) -> Sequence[str]:
    """Return the names of all databases but the server's own, and what a restore that was killed has left."""
    return _sql(cluster, dsn, LIST_DATABASES).split()


def backup(cluster: Cluster, dsn: str, path: Path) -> Sequence[str]:
    """Write all databases into the tar file `path` and return their names; `path` is replaced at the end.

    Raises:
        OutsideError: if the disk is full or the folder cannot be written.
    """
    names = databases(cluster, dsn)
    beside = path.with_name(f"{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, tarfile.open(beside, "w") as archive:
            beside.chmod(0o600)
            for name in names:
                dump = Path(folder) / f"{name}{_SUFFIX}"
                command = [cluster.programs.path("pg_dump"), "-Fc", "--no-owner", "-f", str(dump)]
                run_program([*command, "-d", _address(dsn, name)], seconds=_SECONDS)
                archive.add(dump, arcname=dump.name)
                dump.unlink()
        beside.replace(path)
    except OSError as e:
        raise OutsideError(f"The backup {path} cannot be written: {e.strerror or e}.") from e
    finally:
        with suppress(OSError):  # nothing is there, or it cannot be reached, which has been said
            beside.unlink()
    return names


def restore(cluster: Cluster, dsn: str, path: Path) -> Sequence[str]:
    """Replace databases by those in the file and return their names.

    Everything is loaded under other names first; only when all of it is there do the databases change
    places.

    Raises:
        ConfigError: if `path` is no backup of ours.
        OutsideError: if it cannot be loaded, or a program still uses a database that is to be replaced.
    """
    with tempfile.TemporaryDirectory() as folder:
        dumps = _unpack(path, Path(folder))
        names = [dump.stem for dump in dumps]
        try:
            for number, dump in enumerate(dumps):
                _load(cluster, dsn, dump, _INCOMING.format(number))
            _exchange(cluster, dsn, names)
        except OutsideError:
            _drop(cluster, dsn, _numbered(_INCOMING, names))
            raise
    _drop(cluster, dsn, _numbered(_REPLACED, names))
    return names


def _numbered(pattern: str, names: Sequence[str]) -> list[str]:
    return [pattern.format(number) for number in range(len(names))]


def _unpack(path: Path, folder: Path) -> Sequence[Path]:
    try:
        with tarfile.open(path) as archive:
            # By hand, so that a member can neither name a place outside the folder nor be anything but a dump.
            for member in archive:
                source = archive.extractfile(member) if _MEMBER.fullmatch(member.name) else None
                if source is not None:
                    with source, (folder / member.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except FileNotFoundError as e:
        raise ConfigError(f"There is no file {path}.") from e
    except (OSError, tarfile.TarError) as e:
        cause = str(e).splitlines()[0].rstrip(":.")  # a file of another kind is told once for each kind tried
        raise ConfigError(f"{path} is not a backup made by `liu db backup` ({cause}).") from e
    dumps = sorted(folder.glob(f"*{_SUFFIX}"))
    if not dumps:
        raise ConfigError(f"{path} is not a backup made by `liu db backup`: it holds no database.")
    return dumps


def _load(cluster: Cluster, dsn: str, dump: Path, incoming: str) -> None:
    _drop(cluster, dsn, [incoming])
    _sql(cluster, dsn, f'CREATE DATABASE "{incoming}"')
    command = [cluster.programs.path("pg_restore"), "--exit-on-error", "--single-transaction", "--no-owner"]
    run_program([*command, "-d", _address(dsn, incoming), str(dump)], seconds=_SECONDS)


def _exchange(cluster: Cluster, dsn: str, names: Sequence[str]) -> None:
    """Give the new databases the names of the old ones, all in one transaction."""
    replaced, incoming = _numbered(_REPLACED, names), _numbered(_INCOMING, names)
    _drop(cluster, dsn, replaced)
    present = databases(cluster, dsn)
    rename = 'ALTER DATABASE "{}" RENAME TO "{}";'
    steps = [rename.format(name, old) for name, old in zip(names, replaced, strict=True) if name in present]
    steps += [rename.format(new, name) for name, new in zip(names, incoming, strict=True)]
    try:
        _sql(cluster, dsn, " ".join(steps))
    except OutsideError as e:
        raise OutsideError(f"A database is in use ({e}); end the programs that use it and try again.") from e


def _drop(cluster: Cluster, dsn: str, names: Sequence[str]) -> None:
    for name in names:
        _sql(cluster, dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _sql(cluster: Cluster, dsn: str, statement: str) -> str:
    command = [cluster.programs.path("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", statement]
    return run_program(command, seconds=120)


def _address(dsn: str, database: str) -> str:
    """Return the address of another database of the same server."""
    return dsn.replace(f"@/{SUPERUSER}?", f"@/{database}?")
