"""`AdapterConformance`: everything public of an adapter as tests, the same bodies for every framework."""

from __future__ import annotations

from .answers import AnswerTests
from .base import Adapter, AwaitedNotifier, AwaitedRegistry, AwaitedStream, AwaitedSubmission
from .life import LifeTests
from .receipts import ReceiptTests
from .registering import RegisteringTests
from .replaying import ReplayTests
from .requests import RequestTests
from .secrets import SecretTests
from .streams import StreamTests
from .tls import TlsTests

__all__ = [
    "Adapter",
    "AdapterConformance",
    "AwaitedNotifier",
    "AwaitedRegistry",
    "AwaitedStream",
    "AwaitedSubmission",
]


class AdapterConformance(
    RegisteringTests,
    ReplayTests,
    StreamTests,
    ReceiptTests,
    AnswerTests,
    LifeTests,
    SecretTests,
    TlsTests,
    RequestTests,
):
    """Subclass it in a test module of yours, and give an `Adapter`; pytest does the rest.

    ::

        from skyhooks.testing import AdapterConformance

        class TestMyFramework(AdapterConformance):
            @pytest.fixture
            def adapter(self, store_url):
                return MyAdapter(store_url)

    Each test is a coroutine that awaits what the adapter's registries and notifiers return, and nothing else: one body
    judges coroutines, plain values and Deferreds alike. The adapter says how to run it. `store_url` is a fresh memory
    store unless you give another fixture of that name. A fixture `certificate` has to be given: the path of a PEM file
    with a key, and with a certificate for 127.0.0.1 that this key has signed.

    Needs `pip install "skyhooks[testing]"`.
    """
