"""Two folders whose files have the same names: each file sees its own folder's."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import ModuleType

import pytest

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.folder_imports import forget_plain_names
from liualgotrader.common.plugins import load_class

_CLASS = "\nclass Idea:\n    def size(self):\n        {at_call}return {value}\n"


def folder(parent: Path, name: str, size: int) -> Path:
    made = parent / name
    (made / "kit" / "inner").mkdir(parents=True)
    (made / "bare").mkdir()
    (made / "settings_of_mine.py").write_text(
        f"from __future__ import annotations\nimport dataclasses\nSIZE = {size}\n"
        "@dataclasses.dataclass\nclass Sizer:\n    n: int = SIZE\n    def size(self):\n        return SIZE\n"
    )
    (made / "chain.py").write_text("import settings_of_mine\ndef size():\n    return settings_of_mine.SIZE\n")
    (made / "kit" / "__init__.py").write_text("")
    (made / "kit" / "deep.py").write_text(
        "from kit.inner.core import SIZE\nfrom .inner import core\nassert core.SIZE == SIZE\n"
    )
    (made / "kit" / "inner" / "__init__.py").write_text("")
    (made / "kit" / "inner" / "core.py").write_text(f"SIZE = {size}\n")
    (made / "bare" / "there.py").write_text(f"SIZE = {size}\n")
    (made / "size.txt").write_text(str(size))
    return made


def size_in(made: Path, head: str, value: str, at_call: str = "") -> object:
    (made / "idea.py").write_text(head + _CLASS.format(at_call=at_call, value=value))
    kind = load_class(object, "Idea", "idea.py", made, table="strategies.Idea")
    try:
        return kind().size()  # type: ignore[attr-defined]
    finally:
        forget_plain_names()  # as after each batch


IMPORTS = [
    ("import settings_of_mine", "settings_of_mine.SIZE"),
    ("import settings_of_mine as s", "s.SIZE"),
    ("from settings_of_mine import SIZE", "SIZE"),
    ("from settings_of_mine import *", "SIZE"),
    ("from . import settings_of_mine", "settings_of_mine.SIZE"),
    ("import chain", "chain.size()"),
    ("import kit.deep", "kit.deep.SIZE"),
    ("import kit.inner.core as core", "core.SIZE"),
    ("from kit import deep", "deep.SIZE"),
    ("from kit.deep import SIZE", "SIZE"),
    ("from bare.there import SIZE", "SIZE"),
    ("import importlib", "importlib.import_module('settings_of_mine').SIZE"),
    ("import importlib.util", "importlib.import_module('kit.deep').SIZE"),
    ("from importlib import import_module", "import_module('settings_of_mine').SIZE"),
    ("import pickle, settings_of_mine as s", "pickle.loads(pickle.dumps(s.Sizer())).size()"),
    ("import pickle", "pickle.loads(b'csettings_of_mine\\nSizer\\n(tR.').size()"),
    ("import pickle, io", "pickle._Unpickler(io.BytesIO(b'ckit.deep\\nSIZE\\n.')).load()"),
    ("import copy, settings_of_mine as s", "copy.deepcopy(s.Sizer()).n"),
    ("import typing, settings_of_mine as s", "int(typing.get_type_hints(s.Sizer) == {'n': int}) and s.SIZE"),
    ("from pathlib import Path", "int((Path(__file__).parent / 'size.txt').read_text())"),
    (
        "import sys, os\nsys.path.append(os.path.join(os.path.dirname(__file__), 'kit', 'inner'))\nimport core",
        "core.SIZE",
    ),
]


@pytest.mark.parametrize(
    ("head", "value", "at_call"),
    # `import *` is no statement of a function
    [(*row, at_call) for row in IMPORTS for at_call in (False, True) if not (at_call and "*" in row[0])],
)
def test_whatever_a_file_imports_from_its_folder_is_that_folders_own(
    tmp_path: Path, head: str, value: str, at_call: bool
) -> None:
    both = folder(tmp_path, "one", 10), folder(tmp_path, "two", 700)
    inside = "".join(line + "\n        " for line in head.splitlines()) if at_call else ""
    assert [size_in(made, "" if at_call else head, value, inside) for made in both] == [10, 700]


def test_a_plain_name_that_a_library_was_given_is_forgotten_when_the_next_folder_is_loaded(tmp_path: Path) -> None:
    for name, size in (("one", 10), ("two", 700)):
        made = folder(tmp_path, name, size)
        head = "import pickle\nFOUND = pickle.loads(b'csettings_of_mine\\nSizer\\n(tR.')\n"
        assert size_in(made, head, "FOUND.size()") == size
        assert "settings_of_mine" not in sys.modules


def test_strategies_of_one_folder_share_their_helpers_and_a_file_is_one_module(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("seen = []\n")
    (tmp_path / "a.py").write_text("import shared\nclass A: seen = shared.seen\n")
    (tmp_path / "b.py").write_text("import a, shared\nclass B(a.A): seen = shared.seen\n")
    a, b = (load_class(object, name, f"{name.lower()}.py", tmp_path, table="t") for name in "AB")
    assert b.seen is a.seen and issubclass(b, a)  # type: ignore[attr-defined]


def test_names_of_the_library_and_of_the_platform_mean_what_they_always_do(tmp_path: Path) -> None:
    for name in ("statistics", "liualgotrader"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError\n")
    (tmp_path / "numpy").mkdir()  # a folder of data
    (tmp_path / "mine.py").write_text(
        "import statistics, numpy, liualgotrader.common.clock as clock\nclass Mine: n = numpy.ones(3), statistics, clock\n"
    )
    kind = load_class(object, "Mine", "mine.py", tmp_path, table="t")
    found = kind.n  # type: ignore[attr-defined]
    assert isinstance(found[1], ModuleType) and found[0].sum() == 3


def test_what_a_file_adds_to_the_import_path_holds_for_its_folder_alone(tmp_path: Path) -> None:
    for name, size in (("one", 1), ("two", 2)):
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "lib" / "common_words.py").write_text(f"SIZE = {size}\n")
    head = "import sys, os\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\n"
    found = []
    for name in ("one", "two"):
        before = [*sys.path]
        found.append(size_in(tmp_path / name, head, "common_words.SIZE", "import common_words\n        "))
        assert sys.path == before
    assert found == [1, 2]


def test_a_helper_that_is_not_there_is_told_by_the_name_its_author_knows(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").write_text("")
    (tmp_path / "mine.py").write_text("import kit.missing\n")
    with pytest.raises(ConfigError, match=r"ModuleNotFoundError: No module named 'kit.missing' \(mine.py:1\)"):
        load_class(object, "Mine", "mine.py", tmp_path, table="t")


def test_classes_of_helpers_can_be_found_by_their_module(tmp_path: Path) -> None:
    made = folder(tmp_path, "one", 10)
    (made / "idea.py").write_text("from settings_of_mine import Sizer as Idea\n")
    kind = load_class(object, "Idea", "idea.py", made, table="t")
    assert sys.modules[kind.__module__].Sizer is kind and dataclasses.is_dataclass(kind)
