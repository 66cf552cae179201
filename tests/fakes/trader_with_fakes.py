"""`trader` with stand-ins for all processes but the supervisor: the same command line, another fuse box."""

from __future__ import annotations


def main() -> None:
    # Each process of the session imports this file once more and calls nothing.
    import liualgotrader.supervisor.session as session
    from liualgotrader.cli.common import guarded
    from liualgotrader.cli.trader import run
    from tests.fakes.supervisor import PROGRAMS

    session.Session.__init__.__defaults__ = (PROGRAMS,)
    guarded("trader", run)


if __name__ == "__main__":
    main()
