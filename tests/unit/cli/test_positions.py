"""`liu positions`: what it asks of the session that runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.cli.liu import run
from liualgotrader.common.errors import ConfigError
from liualgotrader.supervisor.operator_socket import OperatorSocket


def test_without_a_session_there_is_nobody_to_tell(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no session"):
        run(["positions", "adopt", "AAPL", "--home", str(tmp_path)])


@pytest.mark.parametrize(("word", "expected"), [("done", 0), ("refused", 2), ("error", 3)])
def test_the_session_is_told_symbol_and_settlement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, expected: int
) -> None:
    heard: list[Mapping[str, Any]] = []

    async def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        heard.append(asked)
        return {word: "told"}

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    operator_socket = OperatorSocket(tmp_path, "PAPER", answer)
    asyncio.run_coroutine_threadsafe(operator_socket.open(), loop).result(5)
    status = run(["positions", "flatten", "aapl", "--strategy", "beta", "--home", str(tmp_path)])
    asyncio.run_coroutine_threadsafe(operator_socket.close(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()
    assert (status, capsys.readouterr().out.strip()) == (expected, "told")
    (request,) = heard
    asked = {"do": "positions", "how": "flatten", "symbol": "AAPL", "strategy": "beta"}
    assert asked.items() <= request.items()
    assert request["through"] == "command line"


def test_what_settles_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["positions", "forget", "AAPL"])
    assert "adopt" in capsys.readouterr().err
