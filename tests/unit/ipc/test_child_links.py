"""Which kind of link a process gets, and what it tells its supervisor."""

from __future__ import annotations

from pathlib import Path

from liualgotrader.common.control import DeskFacts, Notice, SlotEnded
from liualgotrader.ipc.child_process import Child
from liualgotrader.ipc.links import LinkReader, LinkWriter
from liualgotrader.ipc.queue_link import QueueReader, QueueWriter, new_queue
from liualgotrader.ipc.session_page import SessionPage
from tests.fakes.session import HostedChild, make_plan


async def test_by_default_links_are_named(tmp_path: Path) -> None:
    hosted = HostedChild("producer", make_plan(tmp_path))
    assert isinstance(hosted.child.reader("picks"), LinkReader)
    assert isinstance(hosted.child.writer("market-0"), LinkWriter)
    hosted.close()


async def test_a_plan_may_say_that_they_are_inherited_queues(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, link="queue")
    page = SessionPage(plan.page_path)
    hosted = HostedChild("producer", plan)
    queues = {name: new_queue(page, name) for name in ("picks", "market-0")}
    child = Child("producer", plan, hosted.control, page, queues)
    reader, writer = child.reader("picks"), child.writer("market-0")
    assert isinstance(reader, QueueReader)
    assert isinstance(writer, QueueWriter)
    writer.put(b"batch", 5)
    assert queues["market-0"].get(timeout=60) == b"batch"
    writer.close()
    child.status.close()
    hosted.close()


async def test_a_text_that_is_none_reaches_the_supervisor_as_far_as_it_can_be_said(tmp_path: Path) -> None:
    hosted = HostedChild("consumer-0", make_plan(tmp_path))
    hosted.child.notice("WARNING", "no file caf\udce9.csv")
    hosted.child.send(SlotEnded(1, "raised: ValueError: \ud83d"))
    hosted.child.send(DeskFacts({"\ud83d": ["\ud83d", 1]}))
    assert hosted.notices == ["no file caf?.csv"]
    assert hosted.said(SlotEnded) == [SlotEnded(1, "raised: ValueError: ?")]
    assert hosted.said(DeskFacts) == [DeskFacts({"?": ["?", 1]})]
    assert hosted.said(Notice) == [Notice("WARNING", "no file caf?.csv")]
    hosted.close()
