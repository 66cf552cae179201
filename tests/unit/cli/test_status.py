"""`trader status` where several sessions run."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest

from liualgotrader.cli import operate
from liualgotrader.common.config import Settings
from liualgotrader.supervisor import operator_socket as operator
from liualgotrader.supervisor.operator_socket import ListedSession, OperatorSocket
from tests.fakes.supervisor import waiting


@pytest.mark.slow
async def test_a_session_that_hangs_hides_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operator, "_ANSWER_SECONDS", 2.0)
    operator_socket = OperatorSocket(tmp_path, "PAPER", waiting)
    await operator_socket.open()
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        entry = ListedSession(77, "0b5e7a4e", "SIMULATED", "2024-06-03", str(tmp_path / "mute"))
        (tmp_path / "run" / "sessions" / "0.json").write_bytes(msgspec.json.encode(entry))
        status = await asyncio.to_thread(operate.status, Settings.resolve({"home": str(tmp_path)}, {}))
    await operator_socket.close()
    out, err = capsys.readouterr()
    assert "waits for the open" in out
    assert err == "trader: the session of batch 0b5e7a4e (pid 77) does not answer\n"
    assert status == 3


async def test_a_session_that_ends_between_the_look_and_the_question_has_ended_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operator_socket = OperatorSocket(tmp_path, "PAPER", waiting)
    await operator_socket.open()
    (listed,) = await asyncio.to_thread(operator.running_sessions, tmp_path)
    await asyncio.to_thread(operator.ask, listed, {"do": "status"})
    await operator_socket.close()
    looks = iter([[listed], []])
    monkeypatch.setattr(operate, "running_sessions", lambda home: next(looks))
    status = operate.status(Settings.resolve({"home": str(tmp_path)}, {}))
    assert (status, capsys.readouterr()) == (0, (f"the PAPER session (pid {listed.pid}) has just ended\n", ""))
