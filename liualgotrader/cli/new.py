"""`liu new strategy NAME` and `liu new scanner NAME`: files that run as they are, with a tradeplan."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from pathlib import Path

from liualgotrader.common.config import program_call
from liualgotrader.common.errors import ConfigError

STRATEGY = '''\
"""{name}: buys a symbol that closes above the high of the minutes before, sells at a stop or a target."""

from liualgotrader.common.events import Bar
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.context import Context


class {name}(Strategy):
    """Long breakouts over `lookback` minutes that risk a fraction `risk` of the portfolio each."""

    def __init__(self, lookback=5, risk=0.0005, **base):
        super().__init__(**base)
        self.lookback = lookback
        self.risk = risk

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """Called with every closed minute of every picked symbol."""
        if ctx.open_orders:  # one order at a time: an entry or an exit is on its way
            return
        if ctx.position > 0:
            self.leave(ctx, bar)
        elif len(ctx.bars) > self.lookback:
            self.enter(ctx, bar)

    def enter(self, ctx: Context, bar: Bar) -> None:
        stop = ctx.bars.low[-1 - self.lookback :].min()
        if bar.close <= ctx.bars.high[-1 - self.lookback : -1].max() or stop >= bar.close:
            return
        quantity = ctx.shares(stop=stop, risk=self.risk)  # never more than the account's limits allow
        if quantity > 0:
            ctx.buy(quantity, stop_price=stop, target_price=bar.close + 2 * (bar.close - stop), reason="breakout")

    def leave(self, ctx: Context, bar: Bar) -> None:
        # Stop and target are stored with the position, but acting on them is up to this strategy, here at the minute's
        # close. The platform acts on them only once the strategy is not called any more (it failed, say).
        if ctx.stop_price is not None and bar.close <= ctx.stop_price:
            ctx.close(reason="stop")
        elif ctx.target_price is not None and bar.close >= ctx.target_price:
            ctx.close(reason="target")
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
"""{name} trades an hour on the simulated market, through the real processes."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TRADER = Path(sys.executable).with_name("trader")


def test_{module}_trades_an_hour_on_the_simulated_market():
    words = ["--simulate", "--tradeplan", HERE / "{plan}", "--from", "09:30", "--to", "10:30", "--symbols", "20"]
    shown = []
    with subprocess.Popen([TRADER, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as session:
        for line in session.stdout:  # what happens, while it happens
            print(line, end="", flush=True)
            shown.append(line)
    assert session.returncode == 0
    figures = next(line.split() for line in shown if line.startswith("{name} "))
    assert int(figures[1]) > 0, "no round trips"


if __name__ == "__main__":  # `python test_{module}.py` needs no pytest; `pytest -s` shows the session as well
    test_{module}_trades_an_hour_on_the_simulated_market()
    print("passed")
'''

SCANNER = '''\
"""{name}: picks the symbols in which the most dollars changed hands today."""

from liualgotrader.scanners.base import Scanner


class {name}(Scanner):
    """The `top` symbols by dollars traded since the open, of those that cost `least_price` or more."""

    def __init__(self, least_price=5.0, top=10, **base):
        super().__init__(**base)
        self.least_price = least_price
        self.top = top

    async def run(self, back_time=None):
        """Return the symbols to trade, the most wanted first."""
        symbols = sorted(await self.data_api.tradable_symbols())
        snapshots = await self.data_api.snapshots(symbols)
        dollars = {{
            symbol: snapshot.daily_bar.volume * snapshot.last_price
            for symbol, snapshot in snapshots.items()
            if snapshot.daily_bar and (snapshot.last_price or 0) >= self.least_price
        }}
        return sorted(dollars, key=lambda symbol: (-dollars[symbol], symbol))[: self.top]
'''

SCANNER_PLAN = """\
# Shows what {name} picks and trades nothing. To trade, copy its table into the tradeplan of a strategy.

test_scanners = true

[scanners.{name}]
filename = "{module}.py"
recurrence = 5        # minutes; without it the scanner runs once, at the open
least_price = 5.0
top = 10
"""


def new(kind: str, name: str, folder: str) -> int:
    """Write the files of a new `strategy` or `scanner` and say what to do next; return the exit status.

    Raises:
        ConfigError: if the name is not a class name, a file is there already, or the folder cannot be written.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"'{name}' is not a class name; write it like OpeningBreakout")
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if module in sys.stdlib_module_names:
        raise ConfigError(f"{module}.py would hide Python's own module {module}; choose another name")
    here = Path(folder)
    plan = here / f"{module}.toml"
    if kind == "strategy" and not _is_there(here / "tradeplan.toml"):
        plan = here / "tradeplan.toml"
    test = here / f"test_{module}.py"
    if kind == "strategy":
        texts = {here / f"{module}.py": STRATEGY, plan: TRADEPLAN, test: TEST}
    else:
        texts = {here / f"{module}.py": SCANNER, plan: SCANNER_PLAN}
    for path in texts:
        if _is_there(path):
            raise ConfigError(f"{path} already exists; choose another name or another --folder")
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text.format(name=name, module=module, plan=plan.name))
    except OSError as error:
        for half_done in written:  # all files or none
            half_done.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another --folder") from error
    print(f"wrote {', '.join(str(p) for p in texts)}")
    print(f"try it: {program_call('trader')} --simulate --tradeplan {shlex.quote(str(plan))} --from 09:30 --to 10:30")
    if test in texts:
        print(f"test it: {program_call('python')} {shlex.quote(str(test))}  (pytest runs it as well)")
    return 0


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); choose another --folder") from error
