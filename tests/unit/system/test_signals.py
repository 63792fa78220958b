"""Signals: who hears them, and that an interrupt which was swallowed is no lost one."""

import os
import signal
import sys

import pytest

from studio.system.signals import (
    Interrupts,
    check_interrupted,
    handle,
    remember_interrupts,
    was_interrupted,
)


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    remember_interrupts()
    for number, handler in before.items():
        signal.signal(number, handler)


class Finalizer:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the exception rises here, and is dropped
            pass


def test_a_swallowed_interrupt_is_remembered():
    remember_interrupts()
    check_interrupted()
    Finalizer()
    assert was_interrupted()
    with pytest.raises(KeyboardInterrupt):
        check_interrupted()


def test_a_search_does_not_start_after_one():
    remember_interrupts()
    Finalizer()
    with pytest.raises(KeyboardInterrupt), Interrupts().heard():
        pytest.fail("it started")


def test_an_interrupt_that_nobody_swallows_is_as_usual():
    remember_interrupts()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_each_command_begins_without_one():
    remember_interrupts()
    Finalizer()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    remember_interrupts()
    check_interrupted()


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    heard = []
    handle((signal.SIGHUP, signal.SIGTERM), lambda number, frame: heard.append(number))
    for number in (signal.SIGHUP, signal.SIGTERM):
        os.kill(os.getpid(), number)
    assert heard == [signal.SIGTERM]


def test_an_ignored_interrupt_is_not_counted():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    remember_interrupts()
    interrupts = Interrupts()
    with interrupts.heard():
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.count == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.count == 2
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
