"""An async function blocks where it is called plainly, and is awaited as ``name.aio(...)``: users' own ones as well."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from flyteray._machine.threads import finished

T = TypeVar("T")

_END = object()


class Syncify:
    """A decorator of async functions, async generators, methods, ``classmethod`` and ``staticmethod``.

    Blocking calls of all that one decorator has wrapped run on one event loop, where clients that they keep stay
    usable; a blocking call from such a function gets a loop of its own. From other async code a blocking call blocks
    that code's loop meanwhile, as any does. What is awaited runs on the loop that awaits it.

    Args:
        name: A name for the loop; decorators of one name share it.
    """

    def __init__(self, name: str = "flyteray_syncify") -> None:
        self.name = name

    def __call__(self, func: Any) -> Any:
        """Wrap a function; TypeError where it is not async."""
        if isinstance(func, classmethod):
            return _ClassMethod(self(func.__func__))
        if isinstance(func, staticmethod):
            return staticmethod(self(func.__func__))
        if not (inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func)):
            raise TypeError(
                f"{getattr(func, '__qualname__', func)!r} is not async: syncify takes async functions and async "
                "generators; call others as they are."
            )
        return _Syncified(func, self.name)


class _Syncified:
    """A function that :class:`Syncify` has wrapped; as an attribute of a class it is a method."""

    def __init__(self, function: Callable[..., Any], loop: str) -> None:
        self.aio = function
        self._loop = loop
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        made = self.aio(*args, **kwargs)
        return self._values(made) if isinstance(made, AsyncIterator) else _loop(self._loop).run(made)

    def __get__(self, instance: object, owner: type | None = None) -> _Syncified:
        return self if instance is None else _Syncified(functools.partial(self.aio, instance), self._loop)

    def _values(self, generator: Any) -> Iterator[Any]:
        loop = _loop(self._loop)

        async def following() -> Any:
            return await anext(generator, _END)

        async def close() -> None:
            await generator.aclose()

        try:
            while (value := loop.run(following())) is not _END:
                yield value
        finally:
            loop.run(close())


class _ClassMethod:
    def __init__(self, function: _Syncified) -> None:
        self._function = function

    def __get__(self, instance: object, owner: type) -> _Syncified:
        return self._function.__get__(owner)


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Block for the result of a coroutine, which has the caller's context variables."""
        if threading.current_thread() is self._thread:
            return finished(coroutine)
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl+C ends the waiting only
            raise


@functools.cache
def _loop(name: str) -> _Loop:
    return _Loop(name)


syncify = Syncify()
