"""The world that a desk decides in."""

import pytest

from tests.fakes.broker import World


@pytest.fixture
def world() -> World:
    """Return a session that has begun, with its books compared and nothing bought."""
    world = World()
    world.run()
    return world
