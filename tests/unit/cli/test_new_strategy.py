"""`liu new strategy`: what it writes loads, and its test is a test."""

import ast

import pytest

from liualgotrader.cli.new_strategy import new_strategy
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import load_tradeplan
from liualgotrader.supervisor.inspection import inspect_tradeplan


def test_the_written_files_load_and_hold_a_test(tmp_path, capsys):
    assert new_strategy("OpeningRange", str(tmp_path)) == 0
    (facts,) = inspect_tradeplan(load_tradeplan(tmp_path / "tradeplan.toml")).strategies
    assert (facts.name, facts.run_all, facts.day_trade, facts.notes) == ("OpeningRange", False, True, ())
    tree = ast.parse((tmp_path / "test_opening_range.py").read_text())
    assert any(isinstance(n, ast.FunctionDef) and n.name.startswith("test_") for n in tree.body)
    assert "trader --simulate" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path):
    new_strategy("Mine", str(tmp_path))
    before = {p: p.read_text() for p in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"mine.py is there already"):
        new_strategy("Mine", str(tmp_path))
    assert {p: p.read_text() for p in tmp_path.iterdir()} == before


def test_a_second_strategy_gets_a_tradeplan_of_its_own(tmp_path):
    new_strategy("One", str(tmp_path))
    new_strategy("Two", str(tmp_path))
    assert list(load_tradeplan(tmp_path / "two.toml").strategies) == ["Two"]


@pytest.mark.parametrize("name", ["lower", "With Space", "../Up", "1st", "True"])
def test_a_name_that_no_class_can_have_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="is no class's name"):
        new_strategy(name, str(tmp_path))


@pytest.mark.parametrize("name", ["Signal", "Queue", "Types"])
def test_a_file_that_would_hide_a_module_of_pythons_is_not_written(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name.lower()}.py would stand before Python's own module"):
        new_strategy(name, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_looked_into_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be looked at \(File name too long\); choose another --folder"):
        new_strategy("Mine", str(tmp_path / ("x" * 300)))


def test_where_nothing_can_be_written_one_sentence_says_so_and_nothing_stays(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written \(.*irectory.*\); choose another --folder"):
        new_strategy("Mine", str(tmp_path / "file" / "inside"))
    (tmp_path / "test_mine.py").symlink_to(tmp_path / "nowhere" / "else")  # the third file fails
    with pytest.raises(ConfigError, match=r"test_mine.py cannot be written"):
        new_strategy("Mine", str(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "test_mine.py"]


def test_it_says_how_the_test_is_run(tmp_path, capsys):
    folder = tmp_path / "with space"
    new_strategy("Mine", str(folder))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("test it: "))
    assert f"python '{folder}/test_mine.py'" in line
