"""Whose mistake an exception is: the user's own code, or a cure's."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any


def is_users(error: BaseException, functions: tuple[Any, ...]) -> bool:
    """Whether an exception was raised by one of these functions, one that is defined inside them, or what they called
    outside of jrnn: the innermost frame decides that is theirs or jrnn's."""
    codes = {code for function in functions for code in codes_of(function)}
    for frame in reversed(list(frames_of(error))):
        if frame.f_code in codes:
            return True
        if frame.f_globals.get("__name__", "").startswith("jrnn."):
            return False
    return False


def frames_of(error: BaseException) -> Iterator[types.FrameType]:
    """Every frame that an exception went through, the outermost first; those of what it came from last."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame
        at = at.tb_next
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from frames_of(before)


def codes_of(function: Any) -> Iterator[types.CodeType]:
    """The code of a callable: a function, what decorators and partials wrap, a method, an object that can be called;
    with that of the functions defined inside."""
    while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
        yield from inside(getattr(function, "__code__", None))
        function = function.func if isinstance(function, functools.partial) else function.__wrapped__
    function = getattr(function, "__func__", function)
    if not hasattr(function, "__code__") and callable(function):
        function = getattr(type(function).__call__, "__func__", type(function).__call__)
    yield from inside(getattr(function, "__code__", None))


def inside(code: Any) -> Iterator[types.CodeType]:
    """The code, and that of all functions in it."""
    if isinstance(code, types.CodeType):
        yield code
        for constant in code.co_consts:
            yield from inside(constant)
