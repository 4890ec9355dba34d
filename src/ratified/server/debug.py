"""``/debug/pprof/``, with ``--enable-pprof``: where this process is, and where its time goes.

The paths are those of Go's programs; what is there is text, and Python's own. A profile makes everything slower while
it is taken, so there is one at a time.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
import sys
import threading
import traceback
from collections.abc import Iterator
from http import HTTPStatus
from types import FrameType
from urllib.parse import parse_qs

from ratified.api.pages import NOT_ALLOWED, NOT_FOUND, Page

PREFIX = "/debug/pprof/"
SECONDS = 30
SECONDS_MAX = 300
FUNCTIONS_MAX = 100
"""In a profile: those that took most."""
TASKS_MAX = 1_000
_TEXT = "text/plain; charset=utf-8"
_INDEX = f"""goroutine                      what each thread and each task of this process is doing
profile?seconds={SECONDS}             in which functions the thread that serves spends its time
"""


class DebugPages:
    """Of one process."""

    def __init__(self) -> None:
        self._is_profiling = False

    async def page(self, method: str, target: str) -> Page:
        path, _, query = target.partition("?")
        if method not in ("GET", "HEAD"):
            return NOT_ALLOWED
        match path.removeprefix(PREFIX):
            case "":
                return _text(_INDEX)
            case "goroutine":
                return _text("\n".join((*_threads(), *_tasks())))
            case "profile":
                return await self._profile(parse_qs(query).get("seconds", [str(SECONDS)])[0])
        return NOT_FOUND

    async def _profile(self, text: str) -> Page:
        if not text.isdecimal() or not 1 <= int(text[:9]) <= SECONDS_MAX:
            return _text(f"seconds is {text!r}: it must be a number from 1 to {SECONDS_MAX}\n", HTTPStatus.BAD_REQUEST)
        if self._is_profiling:
            return _text("a profile is being taken: ask again when it is done\n", HTTPStatus.CONFLICT)
        self._is_profiling = True
        profile = cProfile.Profile()
        profile.enable()
        try:
            await asyncio.sleep(int(text))
        finally:
            profile.disable()
            self._is_profiling = False
        said = io.StringIO()
        pstats.Stats(profile, stream=said).sort_stats("tottime").print_stats(FUNCTIONS_MAX)
        return _text(said.getvalue())


def _text(text: str, status: HTTPStatus = HTTPStatus.OK) -> Page:
    return Page(status, _TEXT, text.encode())


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for number, frame in sys._current_frames().items():
        yield f"thread {names.get(number, 'of no name')}:\n{''.join(traceback.format_stack(frame))}"


def _waits_in(awaited: object) -> Iterator[str]:
    """Down to what it waits for: ``Task.get_stack`` has the outermost coroutine alone."""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "ag", "gi") if hasattr(awaited, f"{kind}_frame")), None)
        frame: FrameType | None = getattr(awaited, f"{kind}_frame", None)
        if frame is None:
            return
        yield f'  File "{frame.f_code.co_filename}", line {frame.f_lineno}, in {frame.f_code.co_qualname}\n'
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def _tasks() -> Iterator[str]:
    tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    for task in tasks[:TASKS_MAX]:
        yield f"task {task.get_name()}:\n{''.join(_waits_in(task.get_coro()))}"
    if len(tasks) > TASKS_MAX:
        yield f"and {len(tasks) - TASKS_MAX} tasks more\n"
