"""The money journal of a batch in words: what was told, and what the order desk decides on it again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.clock import as_datetime, as_utc, rfc3339
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.money import plain
from liualgotrader.common.order_id import batch_part
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerOrder,
    BrokerUpdate,
    Declare,
    Fill,
    OrderIntent,
    OrderNews,
    Protect,
)
from liualgotrader.journal import JournalDamaged, read_journal
from liualgotrader.order_gateway.journaled_desk import JOURNAL_FILE
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Answer,
    Begin,
    BrokerSnapshot,
    Cancel,
    CancelAll,
    Condition,
    Decision,
    Input,
    JournalRecord,
    LookUp,
    OrderFound,
    Prices,
    Replace,
    Send,
    Tell,
    Tick,
    Warn,
)

_ROUTINE = (Tick, Prices, BrokerSnapshot, BrokerAccount)  # left out where nothing followed
_DECIDED = {Send: "send", Cancel: "cancel", Replace: "replace", LookUp: "look up"}


class JournalLine(msgspec.Struct, omit_defaults=True):
    """One line of the table: a record, or (`kind` begins with `>`) something that was decided on it."""

    record: int
    at: str  # RFC 3339, UTC
    new_york: str
    utc: str
    kind: str
    order: str = ""
    slot: str = ""
    symbol: str = ""
    side: str = ""
    quantity: str = ""
    price: str = ""
    state: str = ""
    text: str = ""


def journal_path(batch: Path, folder: Path) -> Path:
    """Return the journal that is meant: a file, or that of the one batch below `folder` whose id begins so.

    Raises:
        ConfigError: if no batch, or more than one, is meant.
    """
    if batch.is_file():
        return batch
    known = sorted(path.parent.name for path in folder.glob(f"*/{JOURNAL_FILE}"))
    found = [name for name in known if name.startswith(batch_part(str(batch)))]
    if len(found) != 1:
        why = "several batches begin so" if found else "there is no such batch"
        raise ConfigError(f"{batch}: {why}; journals in {folder}: {', '.join(found or known) or 'none'}")
    return folder / found[0] / JOURNAL_FILE


def journal_lines(path: Path) -> Iterator[list[JournalLine]]:
    """Yield each record that tells something, with what the desk decides on it again."""
    desk: Desk | None = None
    decoder = msgspec.msgpack.Decoder(JournalRecord)
    for number, payload in enumerate(read_journal(path), start=1):
        try:
            entry = decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalDamaged(f"{path}: record {number} is not one of this version ({error})") from error
        if desk is None and number == 1 and isinstance(entry.told, Begin):
            desk = Desk()  # else the journal's beginning is lost, and nothing can be decided again
        decided = desk.decide(entry.told, entry.now, entry.machine) if desk is not None else []
        followed = [line for one in decided for line in _decision(number, entry.now, one)]
        if followed or not isinstance(entry.told, _ROUTINE):
            yield [_line(number, entry.now, str(type(entry.told).__struct_config__.tag), entry.told), *followed]


def _decision(record: int, now: int, decided: Decision) -> Iterator[JournalLine]:
    match decided:
        case Send(order):
            yield _line(record, now, ">send", order)
        case CancelAll(cancels):
            for cancel in cancels:
                yield _line(record, now, ">cancel", cancel)
        case Tell(_, OrderNews() as news):
            yield _line(record, now, ">state", news)
        case Tell(_, Fill() as fill):
            yield _line(record, now, ">fill", fill)
        case Warn(level, text):
            yield _line(record, now, f">{level.lower()}", None, text)
        case Cancel() | Replace() | LookUp():
            yield _line(record, now, f">{_DECIDED[type(decided)]}", decided)


def _line(record: int, now: int, kind: str, about: Any, text: str = "") -> JournalLine:
    """Return what a record or a decision says of an order, a position, or anything else."""
    order = getattr(about, "order", None)
    execution = getattr(about, "execution", None)
    sources = [one for one in (execution, order if isinstance(order, BrokerOrder) else None, about) if one is not None]

    def value(*names: str) -> str:
        found = (getattr(one, name, None) for one in sources for name in names)
        first = next((one for one in found if one not in (None, "")), "")
        return f"{plain(first):f}" if isinstance(first, Decimal) else str(first)

    return JournalLine(
        record,
        rfc3339(now),
        f"{as_datetime(now):%H:%M:%S.%f}",
        f"{as_utc(now):%H:%M:%S.%f}",
        kind,
        order=value("client_order_id"),
        slot=value("slot"),
        symbol=value("symbol"),
        side=value("side"),
        quantity=value("quantity"),
        price=value("price", "limit_price", "stop_price", "average_price"),
        state=value("state"),
        text=text or _words(about),
    )


def _words(about: Input | Decision | None) -> str:
    """Return what the columns do not say."""
    match about:
        case OrderIntent():
            stop = f", stop {about.stop_price}" if about.stop_price is not None else ""
            return f"{about.strategy}: {about.type}{stop}" + (f" ({about.reason})" if about.reason else "")
        case BrokerUpdate():
            return about.event
        case Answer():
            return f"{about.request} {about.outcome}" + (f": {about.reason}" if about.reason else "")
        case OrderFound():
            return "the broker knows it" if about.order else "not known there" if about.answered else "no answer"
        case BrokerSnapshot():
            counts = f"{len(about.orders)} orders, {len(about.executions)} executions, {len(about.positions)} positions"
            return counts if about.ok else "no answer"
        case Begin():
            return f"session of {about.terms.hours.day}, generation {about.generation}, {len(about.terms.slots)} slots"
        case Declare():
            return f"{about.strategy}, from news {about.last_seq + 1}"
        case Protect():
            return f"stop {about.planned_stop}, target {about.planned_target}"
        case BrokerAccount():
            return f"…{about.account_number[-4:]}: equity {about.equity}, cash {about.cash}"
        case Condition():
            return f"{about.name}: {about.text or 'over'}"
        case Fill():
            return f"fee {about.fee}, holds {plain(about.position)}"
        case _:
            return str(getattr(about, "reason", "") or getattr(about, "text", "") or getattr(about, "how", ""))


def around_order(records: Iterable[list[JournalLine]], order: str, *, beside: int = 3) -> list[JournalLine]:
    """Return the records that tell of an order or decide about it, and some before and after each."""
    found, before, after = list[JournalLine](), deque[list[JournalLine]](maxlen=beside), 0
    for record in records:
        if any(line.order == order for line in record):
            found += [line for one in (*before, record) for line in one]
            before.clear()
            after = beside
        elif after:
            found += record
            after -= 1
        else:
            before.append(record)
    return found
