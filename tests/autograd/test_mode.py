"""Switching recording on and off. Programs run on both libraries."""

from __future__ import annotations

import threading

import pytest
import torch

import tilegrad as tg

BOTH = pytest.mark.parametrize("m", [tg, torch], ids=["tilegrad", "torch"])


@BOTH
def test_contexts_nest(m):
    states = []
    with m.no_grad():
        states.append(m.is_grad_enabled())
        with m.enable_grad():
            states.append(m.is_grad_enabled())
            with m.set_grad_enabled(False):
                states.append(m.is_grad_enabled())
            states.append(m.is_grad_enabled())
        states.append(m.is_grad_enabled())
    assert states == [False, True, False, True, False] and m.is_grad_enabled()


@BOTH
def test_one_object_entered_twice(m):
    mode = m.no_grad()
    with mode:
        pass
    assert m.is_grad_enabled()
    with mode:
        assert not m.is_grad_enabled()
    assert m.is_grad_enabled()


@BOTH
def test_exceptions_restore(m):
    with pytest.raises(KeyError), m.no_grad():
        raise KeyError
    assert m.is_grad_enabled()


@BOTH
def test_set_grad_enabled_acts_at_once(m):
    m.set_grad_enabled(False)
    try:
        assert not m.is_grad_enabled()
    finally:
        m.set_grad_enabled(True)

    @m.set_grad_enabled(False)
    def inside():
        return m.is_grad_enabled()

    assert m.is_grad_enabled() and not inside() and m.is_grad_enabled()
    with pytest.raises(TypeError):
        m.set_grad_enabled("no")


@BOTH
def test_decorated_functions(m):
    @m.no_grad()
    def with_call(x):
        """A docstring."""
        return m.is_grad_enabled(), x

    @m.no_grad
    def without_call(x):
        return m.is_grad_enabled(), x

    @m.inference_mode()
    def inference(x):
        return m.is_inference_mode_enabled(), x

    assert with_call(3) == (False, 3) and without_call(x=4) == (False, 4)
    assert inference(5) == (True, 5) and not m.is_inference_mode_enabled()
    assert with_call.__name__ == "with_call" and with_call.__doc__ == "A docstring."


@BOTH
def test_decorated_generators(m):
    log = []

    @m.no_grad()
    def numbers():
        try:
            log.append(("sent", (yield m.is_grad_enabled())))
            yield m.is_grad_enabled()
        except ValueError:
            log.append(("caught", m.is_grad_enabled()))
            yield "recovered"
        finally:
            log.append(("closed", m.is_grad_enabled()))

    generator = numbers()
    assert next(generator) is False and m.is_grad_enabled()
    assert generator.send(7) is False and m.is_grad_enabled()
    assert generator.throw(ValueError()) == "recovered" and m.is_grad_enabled()
    generator.close()
    assert log == [("sent", 7), ("caught", False), ("closed", False)] and m.is_grad_enabled()


@BOTH
def test_inference_mode(m):
    with m.inference_mode():
        assert m.is_inference_mode_enabled() and not m.is_grad_enabled()
        assert m.ones(2).is_inference()
        with m.inference_mode(False):
            assert not m.is_inference_mode_enabled() and m.is_grad_enabled()
            assert not m.ones(2).is_inference()
        assert m.is_inference_mode_enabled() and not m.is_grad_enabled()
    assert not m.is_inference_mode_enabled() and m.is_grad_enabled()


@BOTH
def test_modes_are_per_thread(m):
    seen = []
    with m.no_grad():
        thread = threading.Thread(target=lambda: seen.append(m.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]
