"""`liu new strategy NAME`: a strategy that runs, a tradeplan for it, and a test on the simulated market."""

from __future__ import annotations

import re
from pathlib import Path

from liualgotrader.common.errors import ConfigError

STRATEGY = '''\
"""{name}: buys a symbol that closes above the high of the minutes before, sells at a stop or a target."""

from liualgotrader.common.events import Bar
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.strategies.context import Context


class {name}(Strategy):
    """Long breakouts over `lookback` minutes, risking `risk_dollars` a trade."""

    def __init__(self, batch_id, schedule=None, ref_run_id=None, data_loader=None, lookback=5, risk_dollars=50.0):
        super().__init__(
            name=type(self).__name__,
            type=StrategyType.DAY_TRADE,
            batch_id=batch_id,
            schedule=schedule or [],
            ref_run_id=ref_run_id,
            data_loader=data_loader,
        )
        self.lookback = lookback
        self.risk_dollars = risk_dollars

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Called with every closed minute of every picked symbol."""
        if ctx.position > 0:
            if bar.close <= ctx.stop_price or bar.close >= ctx.target_price:
                ctx.close(reason="stop or target")
        elif len(ctx.bars) > self.lookback and not ctx.open_orders:
            before = ctx.bars.high[-1 - self.lookback : -1].max()
            risk = bar.close - ctx.bars.low[-1 - self.lookback :].min()
            quantity = int(self.risk_dollars / risk) if risk > 0 else 0
            if bar.close > before and quantity > 0:
                ctx.buy(quantity, stop_price=bar.close - risk, target_price=bar.close + 2 * risk, reason="breakout")
'''

TRADEPLAN = """\
# Runs {name} on whatever moves; make the scanner choosier before trading on an account.

events = ["minute"]

[scanners.momentum]
today_change_percent = -100.0
min_last_dv = 0
min_share_price = 1.0
max_share_price = 500.0
min_volume = 0
from_market_open = 0
recurrence = 5
max_symbols = 10

[strategies.{name}]
filename = "{module}.py"
lookback = 5
"""

TEST = '''\
"""{name} trades half an hour on the simulated market, through the real processes."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TRADER = Path(sys.executable).with_name("trader")


def test_{module}_trades_half_an_hour_on_the_simulated_market():
    session = subprocess.run(
        [TRADER, "--simulate", "--tradeplan", HERE / "{plan}", "--from", "09:30", "--to", "10:00", "--symbols", "20"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert session.returncode == 0, session.stdout + session.stderr
    figures = next(line.split() for line in session.stdout.splitlines() if line.startswith("{name} "))
    assert int(figures[1]) > 0, f"no round trips:\\n{{session.stdout}}"
'''


def new_strategy(name: str, folder: str) -> int:
    """Write the three files and say what to do next; return the exit status.

    Raises:
        ConfigError: if the name is no class's name, or a file is there already.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name):
        raise ConfigError(f"'{name}' is no class's name; write it like OpeningBreakout")
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    here = Path(folder)
    plan = here / ("tradeplan.toml" if not (here / "tradeplan.toml").exists() else f"{module}.toml")
    texts = {here / f"{module}.py": STRATEGY, plan: TRADEPLAN, here / f"test_{module}.py": TEST}
    for path in texts:
        if path.exists():
            raise ConfigError(f"{path} is there already; choose another name or another --folder")
    here.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text.format(name=name, module=module, plan=plan.name), encoding="utf-8")
    print(f"wrote {', '.join(str(p) for p in texts)}")
    print(f"try it: trader --simulate --tradeplan {plan} --from 09:30 --to 10:00")
    return 0
