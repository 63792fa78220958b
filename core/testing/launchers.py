"""Contract tests of launchers. Subclass `LauncherContract`, and define `launcher`.

class TestMine(LauncherContract):
    def launcher(self, folder):
        return MineLauncher(f"search-{folder.name}")
"""

import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from studio.experiment import Resources

STAY = "import pathlib, sys, time; pathlib.Path(sys.argv[1], sys.argv[2]).touch(); time.sleep(600)"
END = "import pathlib, sys; pathlib.Path(sys.argv[1], sys.argv[2]).touch(); print('no data here'); sys.exit(3)"


class LauncherContract:
    """Contract of a launcher. Copies write a file of their name to the test's folder, so they must run where that is visible.

    patience  seconds in which an engine starts or ends two copies
    survives  whether copies survive their launcher, and another launcher finds them
    """

    patience: float = 60.0
    survives: bool = True

    def launcher(self, folder: Path) -> Any:
        """Return a launcher of a new search; called with the same `folder` again, another launcher of the same search."""
        raise NotImplementedError

    @pytest.fixture
    def one(self, tmp_path: Path) -> Any:
        launcher = self.launcher(tmp_path)
        yield launcher
        launcher.end()
        self._wait(lambda: not launcher.alive(), "copies were left behind")

    def command(self, folder: Path, text: str = STAY) -> list[str]:
        return [sys.executable, "-c", text, f"{folder}", "ran-{name}"]

    def test_each_copy_runs_under_its_name(self, one: Any, tmp_path: Path) -> None:
        """The names of `start` are in `alive` at once, and are those in the commands."""
        names = one.start(2, self.command(tmp_path), Resources())
        assert len(set(names)) == 2, f"two copies have two names: {names}"
        assert set(names) <= set(one.alive()), "`alive` has what `start` has returned"
        self._wait(lambda: _ran(tmp_path) == set(names), f"they ran as {names}")
        assert {one.alive()[name].state for name in names} == {"running"}

    def test_more_copies_are_new_ones(self, one: Any, tmp_path: Path) -> None:
        names = [*one.start(1, self.command(tmp_path), Resources()), *one.start(1, self.command(tmp_path), Resources())]
        assert len(set(names)) == 2, f"each start makes new copies: {names}"
        self._wait(lambda: _ran(tmp_path) == set(names), f"they ran as {names}")

    def test_copies_end_by_name(self, one: Any, tmp_path: Path) -> None:
        """Other copies continue; a copy that has ended is no error."""
        first, second = one.start(2, self.command(tmp_path), Resources())
        self._wait(lambda: len(_ran(tmp_path)) == 2, "they run")
        one.end([first])
        self._wait(lambda: first not in one.alive(), "it ends")
        assert second in one.alive(), "the other one was not asked to end"
        one.end([first])

    def test_all_copies_end(self, one: Any, tmp_path: Path) -> None:
        """Running copies and waiting ones end."""
        one.end()
        one.start(2, self.command(tmp_path), Resources())
        one.end()
        self._wait(lambda: not one.alive(), "all end")
        one.end()

    def test_a_copy_that_ended_is_gone_and_says_why(self, one: Any, tmp_path: Path) -> None:
        (name,) = one.start(1, self.command(tmp_path, END), Resources())
        self._wait(lambda: name not in one.alive(), "it ends by itself")
        self._wait(lambda: "no data here" in one.last_words(name), f"its last words: {one.last_words(name)}")
        assert "\n" not in one.last_words(name), "last words are one line"
        assert one.last_words("never-heard-of-1") == "", "an unknown copy has no last words"

    def test_another_launcher_finds_them(self, one: Any, tmp_path: Path) -> None:
        """A driver that was killed leaves copies; the next one ends them."""
        if not self.survives:
            pytest.skip("its copies end with it")
        names = one.start(1, self.command(tmp_path), Resources())
        other = self.launcher(tmp_path)
        assert set(names) <= set(other.alive()), "they are found by the name of the search"
        other.end()
        self._wait(lambda: not one.alive(), "and end")

    def test_a_preview_starts_nothing(self, one: Any, tmp_path: Path) -> None:
        command = self.command(tmp_path)
        text = one.preview(2, command, Resources())
        assert str(tmp_path) in text, f"all that would be sent: {text}"
        assert (one.preview(2, command, Resources()), one.alive()) == (text, {}), "pure text"

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < deadline, f"not within {self.patience:g} s: {what}"
            time.sleep(0.1)


def _ran(folder: Path) -> Collection[str]:
    return {path.name.removeprefix("ran-") for path in folder.glob("ran-*")}
