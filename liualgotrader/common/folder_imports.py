"""Imports of users' files from their own folder, kept apart from those of other folders.

Two strategies in two folders may each have a `settings.py`. A folder is a package with a unique name, its files are that
package's modules, and an `import settings` in one of them means the module of its own package. Names of
the standard library and of this package mean what they always do; installed packages come after the folder's files.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from liualgotrader.common.interpreter import own_random

_PREFIX = "liu_folder_"
_FOR_ALL = sys.stdlib_module_names | {__name__.partition(".")[0]}
_PRIVATE_NAME = re.compile(rf"{_PREFIX}[0-9a-f]+\.")


class Folder(ModuleType):
    """The package of one folder. What its files add to the import path is searched for this folder only."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, f"Files of {path}.")
        self.__path__ = [str(path)]
        self._shared = list(sys.path)
        self._own: dict[str, bool] = {}
        self._instead = {"random": own_random(), "importlib": _Importlib(self)}
        self.builtins = {**vars(builtins), "__import__": self._import}

    def owns(self, top: str) -> bool:
        """Whether a name without dots means a file or package of this folder."""
        self.take_path()
        if top not in self._own:
            found = None if top in _FOR_ALL else PathFinder.find_spec(top, self.__path__)
            # A folder without `__init__` comes after an installed package.
            self._own[top] = found is not None and (found.origin is not None or PathFinder.find_spec(top) is None)
        return self._own[top]

    def take_path(self) -> None:
        """From now on search what the folder's files have added to the import path."""
        if self._shared != sys.path:
            more = [p for p in sys.path if p not in self._shared and p not in self.__path__]
            if more:
                self.__path__ += more
                self._own.clear()

    def get(self, name: str) -> ModuleType:
        """Return one of the folder's modules by its name with dots, imported if it is not yet."""
        return importlib.import_module(f"{self.__name__}.{name}")

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        top, _, rest = name.partition(".")
        if self.owns(top):
            found = self.get(name)
            if isinstance(fromlist, list):  # `pickle` and others in C: they look into `sys.modules` next
                _aliases.show(name, found)
            if fromlist:
                return builtins.__import__(found.__name__, globals, locals, fromlist)
            return self.get(top)
        found = builtins.__import__(name, globals, locals, fromlist or ())
        return self._instead.get(top, found) if not (rest and fromlist) else found


class _Importlib(ModuleType):
    """`importlib` as a folder's files see it: what they import by name is what their statements would import."""

    def __init__(self, folder: Folder) -> None:
        super().__init__("importlib", importlib.__doc__)
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module by name."""
        if self._folder.owns(name.partition(".")[0]):
            return self._folder.get(name)
        return importlib.import_module(name, package)


class _OwnLoader(SourceFileLoader):
    """Runs a file of a folder with that folder's `import`."""

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        folder = folder_of(module.__name__)
        assert folder is not None
        module.__dict__["__builtins__"] = folder.builtins
        super().exec_module(module)


class _OwnFinder(MetaPathFinder):
    """Finds the modules of folders."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a folder has the module."""
        if path is None:
            return None
        if name.partition(".")[0] in _aliases:
            return _aliases.find_spec(name, path, target)
        if not name.startswith(_PREFIX):
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is not None and type(found.loader) is SourceFileLoader:
            found.loader = _OwnLoader(found.loader.name, found.loader.path)
        return found


class _Aliases(MetaPathFinder, Loader):
    """Finds a folder's module under its plain name for a library that works for one of its files.

    A model that was pickled elsewhere names `features.Maker`, and the library that reads it imports `features`. The plain
    name is forgotten again before code of another folder runs (`forget_plain_names`).
    """

    def __init__(self) -> None:
        self._found: dict[str, ModuleType] = {}
        self._spec: ModuleSpec | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where the caller's folder has the module."""
        top = name.partition(".")[0]
        if top.startswith(_PREFIX) or top in _FOR_ALL:
            return None
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:  # the folder with such a module whose code is nearest on the stack
            folder = folder_of(str(frame.f_globals.get("__name__", "")))
            if folder is not None and folder.owns(top):
                found = self._found[name] = folder.get(name)
                self._spec = found.__spec__
                return ModuleSpec(name, self, origin=found.__file__, is_package=hasattr(found, "__path__"))
            frame = frame.f_back
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that the folder has."""
        return self._found[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is."""
        module.__spec__ = self._spec

    def show(self, name: str, module: ModuleType) -> None:
        """Make a module importable under its plain name until `forget`."""
        self._found[name] = sys.modules[name] = module

    def forget(self) -> None:
        """Forget them all."""
        while self._found:
            sys.modules.pop(self._found.popitem()[0], None)


_finder, _aliases = _OwnFinder(), _Aliases()


def forget_plain_names() -> None:
    """Let a folder's modules be found under their private names only."""
    _aliases.forget()


def folder_of(module: str) -> Folder | None:
    """Return the folder that a module belongs to, None if it belongs to none."""
    found = sys.modules.get(module.partition(".")[0])
    return found if isinstance(found, Folder) else None


def folder_at(path: Path) -> Folder:
    """Return the package of the folder `path`."""
    name = f"{_PREFIX}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    found = sys.modules.get(name)
    if isinstance(found, Folder):
        return found
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
        sys.meta_path.append(_aliases)
    importlib.invalidate_caches()
    folder = sys.modules[name] = Folder(name, path)
    return folder


def load_file(path: Path) -> ModuleType:
    """Return the module of a file, run now unless it was before."""
    folder = folder_at(path.parent)
    name = f"{folder.__name__}.{path.stem.replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_OwnLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    folder.take_path()
    return module


def loaded_files() -> list[Path]:
    """Return the users' files that were imported so far."""
    modules = [m for name, m in list(sys.modules.items()) if name.startswith(_PREFIX) and not isinstance(m, Folder)]
    return [Path(m.__file__) for m in modules if getattr(m, "__file__", None)]  # type: ignore[arg-type]


def forget_files() -> None:
    """Let users' files be run anew when they are loaded next, with nothing left of what they kept in their modules."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_PREFIX) and not isinstance(module, Folder):
            del sys.modules[name]


def without_private_names(text: str) -> str:
    """Return an error's text with the names of modules as their author knows them."""
    return _PRIVATE_NAME.sub("", text)
