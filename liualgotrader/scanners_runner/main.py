"""Entry point of the scanners' process: opens its dependencies and runs the scanners."""

from __future__ import annotations

from multiprocessing.connection import Connection

from liualgotrader.common.config import Secrets, show_session
from liualgotrader.ipc.child_process import Child, Queues, run_child
from liualgotrader.scanners_runner.scanners_process import ScannerDependencies, ScannersRunner


def run(run_dir: str, control: Connection, queues: Queues | None = None) -> None:
    """Run the scanners of the session in `run_dir`, and exit."""
    run_child(
        "scanners_runner",
        run_dir,
        control,
        lambda child: ScannersRunner(child, open_dependencies(child, Secrets.from_environment())).run(),
        queues,
    )


def open_dependencies(child: Child, secrets: Secrets) -> ScannerDependencies:
    """Return what the session's plan names; nothing is called yet."""
    from liualgotrader.common.types import TimeScale
    from liualgotrader.data.data_factory import open_data
    from liualgotrader.data.loader import DataLoader

    show_session(child.plan)
    data = open_data(child.plan, secrets)
    return ScannerDependencies(
        data,
        lambda: DataLoader(TimeScale.minute, data_api=data, clock=child.clock),
        secrets,
        child.plan.timings.scanner_answer_seconds,
        warm_up=data.warm_up,
    )
