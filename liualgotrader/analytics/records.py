"""What the strategies of a batch recorded (`ctx.record`, `self.record`), as a pandas frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.recording import RecordedColumns
from liualgotrader.data.recorded_series import read_series, records_of

if TYPE_CHECKING:
    import pandas as pd


def recorded(batch_id: str, symbol: str = "", *, home: Path | None = None) -> pd.DataFrame:
    """Return the recorded values of a batch, of one symbol if one is named: an index of New York times, and the columns
    `strategy`, `symbol`, `name` and `value`, by time.

    `.pivot_table("value", "at", "name")` makes a column of each series of one symbol. The beginning of an id is enough;
    `home` is the data folder if it is not LIU_HOME's.

    Raises:
        ConfigError: if no batch with such an id, or more than one, recorded anything.
    """
    folder = records_of(home or Settings.resolve({}).home_path, "")
    found = [one for one in folder.iterdir() if one.name.startswith(batch_id)] if folder.is_dir() and batch_id else []
    if not found:
        raise ConfigError(
            f"no strategy of a batch {batch_id} recorded anything in {folder}: ctx.record(name, value) does"
        )
    if len(found) > 1:
        raise ConfigError(f"more than one batch that recorded something begins with {batch_id}: write more of its id")
    return frame_of(read_series(found[0], symbol.upper()))


def frame_of(columns: RecordedColumns) -> pd.DataFrame:
    """Return recorded columns as `recorded` does."""
    import pandas as pd

    from liualgotrader.common.clock import NEW_YORK

    texts = {
        name: pd.Categorical([key[place] for key in columns.keys])
        for place, name in enumerate(("strategy", "symbol", "name"))
    }
    index = pd.DatetimeIndex(columns.at, tz="UTC", name="at").tz_convert(NEW_YORK)
    return pd.DataFrame(
        {**{name: text.take(columns.series) for name, text in texts.items()}, "value": columns.value}, index=index
    )
