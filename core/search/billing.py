"""Backends that cost money: what they could cost is said, and agreed to, before anything is started or written.

Such a backend has `quote(settings, **options)`, a class method whose answer has a `text`, and `max_cost` in dollars or
None; `check_source(folder)`, which refuses a working directory that it cannot install; and `leave()`, for a search that
goes on elsewhere.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from studio.errors import BadInput
from studio.host import Host
from studio.search.observer import Observer
from studio.search.plan import Plan
from studio.settings import Settings

Consent = bool | Callable[[str], bool]  # a function shows a text, and asks whether to go on


def costs_money(backend: type) -> bool:
    return hasattr(backend, "quote")


def settings_of(plan: Plan) -> Settings:
    """As a backend that costs money hears them: no machine is ordered for an experiment that there will not be."""
    workers = plan.settings.num_workers
    return replace(plan.settings, num_workers=workers if plan.size is None else max(1, min(workers, plan.size)))


def agree(plan: Plan, observer: Observer, yes: Consent) -> None:
    """BadInput where nobody agreed. `yes` False: there is nobody to ask."""
    if not costs_money(plan.backend):
        return
    plan.backend.check_source(plan.source)  # type: ignore[attr-defined]
    quote: Any = plan.backend.quote(settings_of(plan), **plan.backend_options)  # type: ignore[attr-defined]
    if callable(yes):
        if not yes(quote.text):
            raise BadInput("nothing was started")
        return
    for line in quote.text.splitlines():
        observer.notice(line)
    if not yes and quote.max_cost is None:
        raise BadInput("this costs money: agree with --yes, or say how much it may cost with --max-cost DOLLARS")


def clouds(host: Host) -> list[Any]:
    """One backend of each cloud."""
    found = {piece.cls.cloud: piece.cls for piece in reversed(host.pieces("backend")) if costs_money(piece.cls)}
    return [found[name] for name in sorted(found)]


def cloud_names(host: Host) -> list[str]:
    """What `--cloud` may name."""
    found = [piece.cls for piece in host.pieces("backend") if costs_money(piece.cls)]
    return sorted({name for cls in found for name in (cls.name, *cls.aliases)})
