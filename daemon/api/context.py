"""What all endpoints share: engine, text model, settings, metrics, the served name.

Owns which model names are accepted and how long a request waits for the tokenizer. On the API's
event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

from daemon.api.auth import read_keys
from daemon.api.errors import ApiError
from daemon.api.generation import PAUSE_S, Generation
from daemon.api.metrics import Metrics
from daemon.errors import ClusterError, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.api.engine import Engine, ModelInfo
    from daemon.settings import Settings
    from daemon.text.model import TextModel

log = logging.getLogger(__name__)

Result = TypeVar("Result")
TEXT_WAIT_S = 30.0
DESCRIBE_WAIT_S = 2.0
INFO_FRESH_S = 5.0
INLINE_CHARACTERS = 16_384
"""Longer texts are encoded in a thread: the event loop goes on."""


class ApiContext:
    """Passed to every endpoint."""

    def __init__(
        self, settings: Settings, engine: Engine, load_text: Callable[[], TextModel]
    ) -> None:
        """``load_text`` runs in a thread as soon as `start` is called; it takes seconds.

        Raises:
            SettingsError: the key file can't be read.
        """
        self.settings = settings
        self.engine = engine
        self.key_digests = read_keys(settings.api.key_file)
        self.metrics = Metrics()
        self.model_name = served_name(settings.cluster.model)
        self.started_at = int(time.time())
        self.pause_s = PAUSE_S
        self.generations: set[Generation] = set()
        """Those that run now."""
        self._names = {self.model_name, settings.cluster.model}
        self._load_text = load_text
        self._text: asyncio.Future[TextModel] | None = None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="text")
        self._info: ModelInfo | None = None
        self._info_at = 0.0

    def start(self) -> asyncio.Future[TextModel]:
        """Load the text model in a thread; await the result to know that it is there."""
        if self._text is None:
            loop = asyncio.get_running_loop()
            self._text = loop.run_in_executor(self._threads, self._load_text)
        return self._text

    def close(self) -> None:
        """Let the thread go."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def last_call(self) -> None:
        """End what still runs, because the process is about to."""
        for generation in self.generations:
            generation.break_off(NotReady("the API process is shutting down: try again"))

    async def text(self) -> TextModel:
        """The text model, waited for if it is still loading.

        Raises:
            ApiError: 503, it is not there yet or can't be loaded.
        """
        loading = self.start()
        if loading.done() and loading.exception() is None:
            return loading.result()
        try:
            async with asyncio.timeout(TEXT_WAIT_S):
                return await asyncio.shield(loading)
        except TimeoutError:
            reason = "the tokenizer is still loading"
        except ClusterError as error:
            reason = str(error)
        raise ApiError(503, reason, kind="server_error", code="engine_not_ready")

    async def encode(self, text: str, *, special: bool) -> tuple[int, ...]:
        """Token ids of ``text``; a long one does not hold up others."""
        model = await self.text()
        if len(text) <= INLINE_CHARACTERS:
            return model.encode(text, special=special)
        return await self.in_thread(lambda: model.encode(text, special=special))

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns; it may take a while without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def info(self, *, fresh: bool = False) -> ModelInfo | None:
        """What the engine says of the model, a few seconds old at most; None while it is down."""
        if not fresh and self._info is not None and time.monotonic() - self._info_at < INFO_FRESH_S:
            return self._info
        try:
            async with asyncio.timeout(DESCRIBE_WAIT_S):
                self._info = await self.engine.describe()
        except (ClusterError, TimeoutError):
            return None
        self._info_at = time.monotonic()
        return self._info

    async def max_context(self) -> int:
        """Tokens of prompt and answer together; 0 while nobody knows."""
        info = await self.info()
        if info is not None and info.max_context:
            return info.max_context
        if self._info is not None and self._info.max_context:
            return self._info.max_context
        return (await self.text()).max_context

    def check_model(self, name: str) -> None:
        """Refuse models that are not served here.

        Raises:
            ApiError: 404 `model_not_found`.
        """
        if name not in self._names:
            raise ApiError(
                404,
                f"The model '{name}' does not exist here: this server has '{self.model_name}'.",
                param="model",
                code="model_not_found",
            )


def served_name(model: str) -> str:
    """A folder is served under its own name, a hub id (or `demo`) as it is."""
    path = PurePath(model)
    is_folder = path.is_absolute() or model.startswith((".", "~")) or len(path.parts) > 2
    return path.name if is_folder else model
