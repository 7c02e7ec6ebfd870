"""What `skyhooks.testing` gives to users' own tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from skyhooks import testing
from skyhooks._asyncio.notifier import Notifier
from skyhooks._asyncio.registry import Registry
from skyhooks.testing import in_memory


def test_a_registry_and_a_notifier_in_memory_talk_to_each_other_and_to_no_other_test():
    async def scenario():
        registry, notifier = in_memory(Registry, Notifier)
        other, _ = in_memory(Registry, Notifier)
        arrived = asyncio.Queue()
        async with asyncio.timeout(10), registry, other, notifier:
            await registry.register({"account": 42}, arrived.put_nowait)
            await other.register({"account": 42}, arrived.put_nowait)
            receipt = await notifier.notify({"account": 42}, {"rows": 12})
            assert (await arrived.get()).data == {"rows": 12}
        assert (receipt.reached, arrived.empty()) == (1, True)

    asyncio.run(scenario())


def test_options_are_the_registry_s():
    registry, _ = in_memory(Registry, Notifier, max_body_bytes=5000)
    assert registry.max_body_bytes == 5000


def test_what_users_need_is_there_without_pytest():
    code = "import sys; from skyhooks.testing import in_memory, Receiver; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_can_be_had(name):
    assert getattr(testing, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        testing.nonsense  # noqa: B018 - to look is the test
