"""Whatever stands in a line to the operator's socket, one line of JSON is the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from liualgotrader.ipc.address import socket_address
from liualgotrader.supervisor.operator_socket import OperatorSocket, running_sessions
from tests.examples import examples


async def told(folder: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    """Return what the socket answers to each line; a request that reaches the session is answered with itself."""

    async def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"asked": dict(asked)}

    operator_socket = OperatorSocket(folder, "PAPER", answer)
    await operator_socket.open()
    [listed] = await asyncio.to_thread(running_sessions, folder)
    answers = []
    for line in lines:
        reader, writer = await asyncio.open_unix_connection(socket_address(Path(listed.socket)), limit=1 << 24)
        writer.write(line + b"\n")
        await writer.drain()
        answers.append(json.loads(await asyncio.wait_for(reader.readline(), 10)))
        writer.close()
    await operator_socket.close()
    return answers


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"do":"status","x":"' + b"a" * 300_000 + b'"}', "a message may have 16384 bytes, and this one has more"),
        (b'{"do":"status"}' + b" " * 20_000, "a message may have 16384 bytes, and this one has more"),
        (b"[" * 10_000, "the message cannot be read"),
        (b'{"do":' * 2000, "lists and objects may be nested 1 deep, and these are deeper"),
        (b"[" * 900 + b"]" * 900, "lists and objects may be nested 1 deep, and these are deeper"),
        (b'{"do":"positions","symbol":{"a":1}}', "lists and objects may be nested 1 deep"),
        (b'{"do":1e9999999999}', "the message cannot be read: Number out of range"),
        (b"stop", "the message cannot be read"),
        (b"\xff", "the message cannot be read"),
        (b"", "the message cannot be read"),
        (b"[]", "a request is a JSON object"),
        (b"7", "a request is a JSON object"),
    ],
)
async def test_a_line_that_is_no_request_is_answered_in_one_sentence(
    tmp_path: Path, line: bytes, sentence: str
) -> None:
    bad, good = await told(tmp_path, [line, b'{"do":"status","asked_by":"somebody else"}'])
    assert list(bad) == ["error"] and "\n" not in bad["error"]
    assert bad["error"].startswith(sentence) or sentence.startswith("the message cannot")
    assert good == {"asked": {"do": "status", "asked_by": getuser()}}, "who asks is not for him to say"


@examples(40, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.binary(max_size=40)
        | st.recursive(
            st.text() | st.none() | st.booleans() | st.floats() | st.integers(),
            lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
        ).map(lambda value: json.dumps(value).encode()),
        min_size=1,
        max_size=8,
    )
)
def test_any_line_is_answered(tmp_path: Path, lines: list[bytes]) -> None:
    lines = [line.replace(b"\n", b" ") for line in lines]
    answers = asyncio.run(told(tmp_path, lines))
    assert len(answers) == len(lines)
    assert all(list(answer) in (["error"], ["asked"]) for answer in answers)
