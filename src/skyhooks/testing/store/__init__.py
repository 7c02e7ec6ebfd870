"""`StoreConformance`: every line of the `Store` contract as a test that a third party's store can be put to."""

from __future__ import annotations

from .hooks import HookTests
from .instances import InstanceTests
from .logs import LogTests
from .processes import ProcessTests
from .publishing import PublishingTests
from .races import RaceTests
from .reaping import ReapingTests
from .stateful import StatefulTests

__all__ = ["StoreConformance"]


class StoreConformance(
    InstanceTests,
    HookTests,
    LogTests,
    PublishingTests,
    ReapingTests,
    RaceTests,
    ProcessTests,
    StatefulTests,
):
    """Subclass it in a test module of yours, and say how a fresh store is named; pytest does the rest.

    A store that passes keeps every promise that skyhooks builds on; nothing else is asked of it::

        from skyhooks.testing import StoreConformance

        class TestMyStore(StoreConformance):
            multi_process = True

            @pytest.fixture
            def new_url(self, server):
                return lambda query: f"mine://{server}/{uuid4().hex}?{query}"

    `new_url` is called with a query such as `keep=3&keep_min_seconds=0` (or with none) and returns the URL of a
    store that does not exist yet. The URL's scheme must be registered as an entry point in the group
    `skyhooks.stores`. What the tests open they close; what it leaves behind is the fixture's to remove.

    Needs `pip install "skyhooks[testing]"`. No test waits longer than a few seconds for a store's answer.
    """
