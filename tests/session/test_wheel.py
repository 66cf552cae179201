"""The package as a user installs it: a wheel, outside the clone, with nothing of the clone in reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.session, pytest.mark.timeout(600), pytest.mark.xdist_group("wheel")]  # it is built once

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outside() -> Iterator[Path]:
    """A folder outside the clone with an environment that has the wheel; third-party packages are shared."""
    folder = Path(tempfile.mkdtemp(prefix="liu-w-"))
    wheels = folder / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(wheels)]
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", "*.egg-info", "build"))
    subprocess.run([*build, str(source)], check=True)
    sdist = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(wheels), str(source)]
    subprocess.run(sdist, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(source)
    environment = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    [wheel] = wheels.glob("liualgotrader-*.whl")
    python = environment / "bin" / "python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, str(wheel)], check=True
    )
    (Path(target) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(outside: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("APCA_", "DSN", "LIU_", "TRADEPLAN", "PYTHON"))}
    return subprocess.run(
        [outside / "env" / "bin" / "python", "-c", "from liualgotrader.cli.trader import main; main()", *arguments],
        cwd=outside,
        env=clean | {"LIU_HOME": str(outside / "home")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_wheel_holds_the_package_its_migrations_and_what_liu_new_writes(outside: Path) -> None:
    code = "import liualgotrader, pathlib; p = pathlib.Path(liualgotrader.__file__).parent; print(p, *p.rglob('*.sql'))"
    shown = subprocess.run(
        [outside / "env" / "bin" / "python", "-c", code], cwd=outside, capture_output=True, text=True, check=True
    ).stdout
    assert shown.startswith(str(outside))
    assert "0001_" in shown
    new = "from liualgotrader.cli.new import new; new('strategy', 'Made', 'made'); new('scanner', 'Found', 'made')"
    subprocess.run([outside / "env" / "bin" / "python", "-c", new], cwd=outside, check=True)
    assert sorted(path.name for path in (outside / "made").iterdir()) == [
        "found.py", "found.toml", "made.py", "test_made.py", "tradeplan.toml"
    ]  # fmt: skip


def test_wheel_and_source_archive_hold_the_licence_and_say_what_they_are(outside: Path) -> None:
    [wheel], [archive] = (outside / "wheels").glob("*.whl"), (outside / "wheels").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        [about] = [held.read(name).decode() for name in names if name.endswith("/METADATA")]
    assert [name for name in names if name.endswith("/LICENSE")]
    assert [line for line in about.splitlines() if line.startswith("License") and line.endswith("Apache-2.0")]
    assert "Requires-Python: >=3.11" in about
    with tarfile.open(archive) as packed:
        assert [name for name in packed.getnames() if name.count("/") == 1 and name.endswith("/LICENSE")]


@pytest.mark.parity(1)
def test_the_wheel_trades_a_simulated_window_outside_the_clone(outside: Path) -> None:
    for name in ("quick.toml", "flipper.py"):
        shutil.copy(ROOT / "tests" / "session" / "plans" / name, outside / name)
    done = run(outside, "--simulate", "--tradeplan", "quick.toml", "--from", "09:30", "--to", "09:50", "--speed", "max")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Flipper" in done.stdout
