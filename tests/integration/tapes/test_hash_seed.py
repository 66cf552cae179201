"""A generated day does not depend on the hash seed of its process."""

from __future__ import annotations

import os
import subprocess
import sys


def test_the_same_seed_gives_the_same_day_in_processes_with_different_hash_seeds() -> None:
    code = (
        "import hashlib, msgspec; from datetime import date;"
        "from liualgotrader.tapes.generated import GeneratedTape as G;"
        "t = G(date(2024, 3, 12), 7, 20, 60_000); h = hashlib.sha256(); e = msgspec.msgpack.Encoder();"
        "[h.update(e.encode(x)) for x in t.events(0, 2**62)];"
        "[h.update(e.encode(t.minute_bars(s, 0, 2**62))) for s in t.symbols()]; print(h.hexdigest())"
    )

    def digest(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, env=environment, timeout=60, check=True
        )
        return done.stdout.decode().strip()

    assert digest("0") == digest("4711")
