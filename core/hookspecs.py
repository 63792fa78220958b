"""The four hook families of Studio. Implement any of them with `@studio.hookimpl` in a module named by an entry point
of the group `studio`, or in a file given to `--optimizer`."""

import pluggy

from studio.experiment import Metric, Run
from studio.interfaces import Backend, MetricReader, Optimizer
from studio.space import Parameter

PROJECT = "studio"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def studio_parse_range(name: str, text: str, grid: bool) -> Parameter | None:
    """The parameter that the range `text` of hyperparameter `name` describes. Stops at the first non-None result.

    Called once per hyperparameter, before anything is started. `grid` says which grammar the chosen optimizer's users
    write (its `grid` attribute). Return None for a text that is not yours; raise `studio.StudioError` for one that is
    yours and wrong. The built-in parsers come last and take every text.
    """


@hookspec
def studio_optimizers() -> list[type[Optimizer]]:
    """The search strategies that this plugin adds, by their `name` and `aliases`.

    Called when an optimizer is looked up or listed. Import heavy libraries inside the class, not in the module.
    """
    return []


@hookspec
def studio_backends() -> list[type[Backend]]:
    """The execution backends that this plugin adds, by their `name` and `aliases`.

    Called when a backend is looked up or listed.
    """
    return []


@hookspec(firstresult=True)
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    """A reader of `metric` in the files of `run`. Stops at the first non-None result.

    Called where the script runs, when it starts; its files do not exist yet. Also called once before anything starts,
    to see that somebody reads a metric of that name, so opening must touch nothing. Without `--metric` the metric is
    `fitness`. Return None for a name that is not yours: a source of your own takes a prefix, as
    `jsonl:FILE:KEY` does. For a name without one every plugin that returns a reader is asked, in the order of the readers'
    `precedence`. The name `*` is no metric: its readers report nothing, and their `names` tell what there is.
    """
