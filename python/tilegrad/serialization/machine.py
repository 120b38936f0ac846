"""A machine that runs pickles and can build only what its owner lets it build.

A pickle is a program for a stack machine. Python's own machine lets the program name any importable
function and call it; this one knows the opcodes that data needs and hands every name, call and
state to a :class:`Builder`, which refuses what it does not know. Its memo is a dictionary, so a
file cannot make it reserve memory by naming a large index, and lengths are compared with the bytes
that are left before anything is read.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, Protocol

__all__ = ["Builder", "Machine", "check_key"]

_LONGEST_INTEGER = 1024  # bytes: dates and hashes, not numbers that take minutes to print
_LARGEST_KEY = 1000  # elements of nested tuples that are hashed


class Builder(Protocol):
    """Decides what names stand for and what may be done with them."""

    def find(self, module: str, name: str) -> Any:
        """What the global ``module.name`` is."""

    def call(self, function: Any, args: tuple) -> Any:
        """``function(*args)``."""

    def make(self, cls: Any, args: tuple) -> Any:
        """A new object of a class, without its initialization."""

    def set_state(self, target: Any, state: Any) -> None:
        """Gives an object its state."""

    def load(self, reference: Any) -> Any:
        """What lies outside the pickle under that reference: a storage."""


class _Mark:
    """Stands on the stack where a tuple, list or dictionary begins."""


_MARK = _Mark()


class Machine:
    """Runs the pickle that begins at ``position`` of ``data``; ``position`` then is its end."""

    def __init__(self, data: Any, builder: Builder, position: int = 0) -> None:
        self.position = position
        self._data = memoryview(data)
        self._builder = builder
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object; raises UnpicklingError for what is refused, broken or too short."""
        end = len(self._data)
        while self.position < end:
            code = self._data[self.position]
            self.position += 1
            if code == _STOP:
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise UnpicklingError(f"unsupported pickle opcode {bytes([code])!r}")
            step(self)
        raise UnpicklingError("the pickle ends without its stop: the file is truncated")

    # --- bytes and stack ---

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self._data):
            raise UnpicklingError(f"the pickle is truncated: {size} bytes expected")
        taken = bytes(self._data[self.position : end])
        self.position = end
        return taken

    def _number(self, format: str) -> Any:
        return struct.unpack(format, self._take(struct.calcsize(format)))[0]

    def _line(self) -> str:
        start = self.position
        while self.position < len(self._data) and self._data[self.position] != 10:
            self.position += 1
        line = bytes(self._data[start : self.position])
        self._take(1)
        return line.decode("utf-8", "replace")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise UnpicklingError("the pickle takes from an empty stack")
        value = self._stack.pop()
        if value is _MARK:
            raise UnpicklingError("the pickle takes a mark for a value")
        return value

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _pop_to_mark(self) -> list[Any]:
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is _MARK:
                items = self._stack[i + 1 :]
                del self._stack[i:]
                return items
        raise UnpicklingError("the pickle has no mark where one is needed")

    def _pop_several(self, count: int) -> tuple:
        return tuple(reversed([self._pop() for _ in range(count)]))

    # --- containers ---

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, (list, deque)):
            raise UnpicklingError(f"the pickle appends to a {type(target).__name__}")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise UnpicklingError(f"the pickle sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            target[key] = value

    def _add_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not set:
            raise UnpicklingError(f"the pickle adds to a {type(target).__name__}")
        for item in items:
            check_key(item)
        target.update(items)

    def _dictionary(self) -> None:
        items = self._pop_to_mark()
        self._push({})
        self._set_items(items)

    def _frozen_set(self) -> None:
        items = self._pop_to_mark()
        for item in items:
            check_key(item)
        self._push(frozenset(items))

    def _integer(self, size: int) -> None:
        if size > _LONGEST_INTEGER:
            raise UnpicklingError(f"the pickle holds an integer of {size} bytes")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    # --- names, calls, the memo ---

    def _global(self) -> None:
        module = self._line()
        self._push(self._builder.find(module, self._line()))

    def _stack_global(self) -> None:
        module, name = self._pop_several(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnpicklingError("the pickle names a global by what is not a string")
        self._push(self._builder.find(module, name))

    def _call(self, method: Callable[[Any, tuple], Any]) -> None:
        function, args = self._pop_several(2)
        if not isinstance(args, tuple):
            raise UnpicklingError("the pickle calls with arguments that are not a tuple")
        self._push(method(function, args))

    def _build(self) -> None:
        state = self._pop()
        self._builder.set_state(self._top(), state)

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise UnpicklingError(f"the pickle reads entry {index} of its memo, which is empty")
        self._push(self._memo[index])

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()


def check_key(key: Any) -> None:
    """Raises UnpicklingError for keys whose hash would take forever: tuples of shared tuples."""
    budget = _LARGEST_KEY
    pending = [key]
    while pending:
        item = pending.pop()
        budget -= 1
        if budget < 0:
            raise UnpicklingError("the pickle has a key of too many elements")
        if isinstance(item, (tuple, frozenset)):
            pending.extend(item)
        elif type(item).__hash__ is None:
            raise UnpicklingError(f"the pickle has a {type(item).__name__} for a key")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _old_text(raw: bytes) -> str:
    """Strings of Python 2: text where they are ASCII, as checkpoints' keys are."""
    return raw.decode("latin-1")


def _plain_number(line: str) -> Any:
    if line in ("00", "01"):
        return line == "01"
    if len(line) > _LONGEST_INTEGER:
        raise UnpicklingError(f"the pickle holds an integer of {len(line)} digits")
    return int(line.rstrip("L"))


_STOP = ord(".")
_STEPS: dict[int, Callable[[Machine], None]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m._take(1),  # PROTO
        "\x95": lambda m: m._take(8),  # FRAME
        "(": lambda m: m._push(_MARK),
        "0": lambda m: m._pop(),
        "1": lambda m: m._pop_to_mark(),
        "2": lambda m: m._push(m._top()),
        # Constants and numbers.
        "N": lambda m: m._push(None),
        "\x88": lambda m: m._push(True),
        "\x89": lambda m: m._push(False),
        "I": lambda m: m._push(_plain_number(m._line())),
        "L": lambda m: m._push(_plain_number(m._line())),
        "F": lambda m: m._push(float(m._line())),
        "J": lambda m: m._push(m._number("<i")),
        "K": lambda m: m._push(m._number("<B")),
        "M": lambda m: m._push(m._number("<H")),
        "G": lambda m: m._push(m._number(">d")),
        "\x8a": lambda m: m._integer(m._number("<B")),
        "\x8b": lambda m: m._integer(m._number("<i")),
        # Strings and bytes.
        "X": lambda m: m._push(_text(m._take(m._number("<I")))),
        "\x8c": lambda m: m._push(_text(m._take(m._number("<B")))),
        "\x8d": lambda m: m._push(_text(m._take(m._number("<Q")))),
        "T": lambda m: m._push(_old_text(m._take(m._number("<i")))),
        "U": lambda m: m._push(_old_text(m._take(m._number("<B")))),
        "B": lambda m: m._push(m._take(m._number("<I"))),
        "C": lambda m: m._push(m._take(m._number("<B"))),
        "\x8e": lambda m: m._push(m._take(m._number("<Q"))),
        "\x96": lambda m: m._push(bytearray(m._take(m._number("<Q")))),
        # Containers.
        ")": lambda m: m._push(()),
        "\x85": lambda m: m._push(m._pop_several(1)),
        "\x86": lambda m: m._push(m._pop_several(2)),
        "\x87": lambda m: m._push(m._pop_several(3)),
        "t": lambda m: m._push(tuple(m._pop_to_mark())),
        "]": lambda m: m._push([]),
        "l": lambda m: m._push(m._pop_to_mark()),
        "a": lambda m: m._append([m._pop()]),
        "e": lambda m: m._append(m._pop_to_mark()),
        "}": lambda m: m._push({}),
        "d": lambda m: m._dictionary(),
        "s": lambda m: m._set_items(list(m._pop_several(2))),
        "u": lambda m: m._set_items(m._pop_to_mark()),
        "\x8f": lambda m: m._push(set()),
        "\x90": lambda m: m._add_items(m._pop_to_mark()),
        "\x91": lambda m: m._frozen_set(),
        # Names, calls, references.
        "c": lambda m: m._global(),
        "\x93": lambda m: m._stack_global(),
        "R": lambda m: m._call(m._builder.call),
        "\x81": lambda m: m._call(m._builder.make),
        "b": lambda m: m._build(),
        "Q": lambda m: m._push(m._builder.load(m._pop())),
        "h": lambda m: m._get(m._number("<B")),
        "j": lambda m: m._get(m._number("<I")),
        "q": lambda m: m._put(m._number("<B")),
        "r": lambda m: m._put(m._number("<I")),
        "\x94": lambda m: m._put(len(m._memo)),
    }.items()
}
