from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.ports import Tape
from liualgotrader.tapes.files_tape import FilesTape
from liualgotrader.tapes.generated import GeneratedTape
from liualgotrader.tapes.recorded import RecordedTape
from liualgotrader.tapes.tape_factory import tape_from
from tests.fakes.lean import MS_0930, LeanFolder

DAY = date(2024, 3, 12)
OPENS = 1_710_250_200 * SECOND


def test_a_generated_tape_has_the_seed_count_and_symbols_asked_for() -> None:
    tape: Tape = tape_from("generated", day=DAY, seed=5, count=20)
    assert isinstance(tape, GeneratedTape)
    assert len(tape.assets()) == 20
    name = tape.assets()[3].symbol
    some = tape_from("generated", day=DAY, seed=5, count=20, symbols=[name])
    assert [a.symbol for a in some.assets()] == [name]
    assert some.opens_at == OPENS


def test_a_lean_folder_is_recognised(tmp_path: Path) -> None:
    LeanFolder(tmp_path).intraday("minute", "abc", "20240312", "trade", [f"{MS_0930},1,1,1,1,1"])
    assert isinstance(tape_from("recorded", day=DAY, folder=tmp_path), RecordedTape)


def test_a_folder_of_files_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "trades.csv").write_text(f"symbol,at,price,size\nABC,{OPENS},10,100\n")
    assert isinstance(tape_from("recorded", day=DAY, folder=str(tmp_path), symbols=["abc"]), FilesTape)


def test_what_cannot_be_played_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`generated` or `recorded`, not `live`"):
        tape_from("live", day=DAY)
    with pytest.raises(ConfigError, match="needs the folder"):
        tape_from("recorded", day=DAY)
    with pytest.raises(ConfigError, match="does not exist"):
        tape_from("recorded", day=DAY, folder=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds neither Lean data"):
        tape_from("recorded", day=DAY, folder=tmp_path)
