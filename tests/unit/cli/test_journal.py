"""`liu journal show`: a real money journal, whole and damaged, as a person and as a program read it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from liualgotrader.cli.liu import run
from liualgotrader.common.errors import ConfigError
from liualgotrader.journal import JournalDamaged, JournalWriter
from liualgotrader.order_gateway.journaled_desk import JOURNAL_FILE
from tests.fakes.broker import BATCH, World

FOLDER = "0b5e7a4e0000"


def traded() -> tuple[World, str, str]:
    """Return a session in which one order was filled and another refused."""
    world = World()
    world.run()
    bought = world.order(1, "buy", 10)
    world.run()
    world.wait(1)
    world.run()
    return world, bought, world.order(2, "buy", 5, limit_price=Decimal(-1))


def write(home: Path, records: list[bytes], folder: str = FOLDER) -> Path:
    path = home / "journal" / folder / JOURNAL_FILE
    writer = JournalWriter(path)
    for record in records:
        writer.append(record)
        writer.sync()
    writer.close()
    return path


def shown(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run(["journal", "show", BATCH, *arguments, "--home", str(home)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_journal_is_a_table_of_what_was_told_and_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, bought, refused = traded()
    path = write(tmp_path, world.journal)
    first, head, *lines = shown(tmp_path, capsys)
    assert first == str(path)
    assert head.split()[:6] == ["record", "new", "york", "utc", "kind", "order"]
    wanted = next(line for line in lines if " order " in line and bought in line)
    assert wanted.split()[1:10] == [
        "09:30:01.000000",
        "13:30:01.000000",
        "order",
        bought,
        "1",
        "AAPL",
        "buy",
        "10",
        "alpha:",
    ]
    assert any(f">send          {bought}" in line for line in lines)
    [fill] = [line for line in lines if ">fill" in line]
    assert fill.split()[4:] == [bought, "1", "AAPL", "buy", "10", "100.01", "fee", "0.00,", "holds", "10"]
    assert any(line.split()[3:5] == [">state", refused] and line.endswith("refused          terms") for line in lines)
    assert not any(" tick " in line or " prices " in line for line in lines)


def test_one_order_is_shown_alone_and_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, bought, refused = traded()
    write(tmp_path, world.journal)
    found = [json.loads(line) for line in shown(tmp_path, capsys, "--json", "--order", bought)]
    assert {line["order"] for line in found if "order" in line} == {bought}
    assert {line["kind"] for line in found} >= {"order", ">send", "answer", "update", ">state", ">fill"}
    assert next(line for line in found if line["kind"] == "order")["at"] == "2025-06-23T13:30:01.000000000Z"
    assert refused not in json.dumps(found)


def test_of_a_damaged_journal_what_can_be_read_is_shown_and_the_place_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, bought, _ = traded()
    path = write(tmp_path, world.journal)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"\xa5liu", 0, data.rfind(b"\xa5liu"))
    data[at + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalDamaged, match=f"damaged at byte {at}"):
        run(["journal", "show", BATCH, "--home", str(tmp_path)])
    assert bought in capsys.readouterr().out
    path.unlink()
    write(tmp_path, [*world.journal[:3], b"\x93\x01\x02\x03"])
    with pytest.raises(JournalDamaged, match="record 4 is not one of this version"):
        run(["journal", "show", BATCH, "--home", str(tmp_path)])


def test_a_journal_whose_beginning_is_lost_shows_what_was_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, bought, _ = traded()
    write(tmp_path, world.journal[1:])
    lines = shown(tmp_path, capsys)
    assert any(" order " in line and bought in line for line in lines)
    assert not any(">" in line for line in lines[1:])


def test_a_batch_is_named_by_its_id_the_beginning_of_it_or_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, _, _ = traded()
    path = write(tmp_path, world.journal)
    expected = shown(tmp_path, capsys)
    for name in ("0b5e7a", str(path)):
        assert run(["journal", "show", name, "--home", str(tmp_path)]) == 0
        assert capsys.readouterr().out.splitlines() == expected
    write(tmp_path, world.journal, "0b5e00000000")
    with pytest.raises(ConfigError, match=f"0b5e: several batches begin so; .*: 0b5e00000000, {FOLDER}"):
        run(["journal", "show", "0b5e", "--home", str(tmp_path)])
    with pytest.raises(ConfigError, match="77: there is no such batch; journals in"):
        run(["journal", "show", "77", "--home", str(tmp_path)])


def test_the_accounts_number_is_not_shown_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, _, _ = traded()
    write(
        tmp_path, [record.replace(b"account_number\xa2me", b"account_number\xa9PA1234567") for record in world.journal]
    )
    assert "PA1234567" not in "".join(shown(tmp_path, capsys))
