"""Backends that cost money: what they could cost is said, and agreed to, before anything is started or written.

Such a backend has `quote(settings, **options)`, a class method whose answer has a `text`, and `max_cost` in dollars or
None; `check_source(folder)`, which refuses a working directory that it cannot install; `leave()`, for a search that
goes on elsewhere; and `spent(folder)`, a class method: what the project there has cost.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.errors import BadInput, StudioError
from studio.host import Host
from studio.observer import Observer
from studio.plan import Plan

MACHINES = "machines.json"  # in a project's folder: there have been machines
Consent = bool | Callable[[str], bool]  # a function shows a text, and asks whether to go on


def costs_money(backend: type) -> bool:
    return hasattr(backend, "quote")


def agree(plan: Plan, observer: Observer, yes: Consent) -> None:
    """BadInput where nobody agreed. `yes` False: there is nobody to ask."""
    if not costs_money(plan.backend):
        return
    plan.backend.check_source(plan.source)  # type: ignore[attr-defined]
    quote: Any = plan.backend.quote(plan.settings, **plan.backend_options)  # type: ignore[attr-defined]
    if callable(yes):
        if not yes(quote.text):
            raise BadInput("nothing was started")
        return
    for line in quote.text.splitlines():
        observer.notice(line)
    if not yes and quote.max_cost is None:
        raise BadInput("this costs money: agree with --yes, or say how much it may cost with --max-cost DOLLARS")


def spent(folder: Path, host: Callable[[], Host]) -> float | None:
    """Dollars that the machines of the project in `folder` have cost so far; None where it had none, or that is not known."""
    if not (folder / MACHINES).is_file():
        return None
    for piece in host().pieces("backend"):
        if costs_money(piece.cls) and hasattr(piece.cls, "spent"):
            with contextlib.suppress(StudioError):  # the file is damaged: `studio cloud` says so
                found: float | None = piece.cls.spent(folder)
                return found
    return None


def cloud_names(host: Host) -> list[str]:
    """What `--cloud` may name."""
    found = [piece.cls for piece in host.pieces("backend") if costs_money(piece.cls)]
    return sorted({name for cls in found for name in (cls.name, *cls.aliases)})
