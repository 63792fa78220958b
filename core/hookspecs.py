"""The five hooks of Studio. Implement any of them with `@studio.hookimpl` in a module named by an entry point of the
group `studio`, or in a file given to `--optimizer`."""

import pluggy

from studio.experiment import Metric, Run
from studio.interfaces import Backend, MetricReader, Optimizer, Pruner
from studio.space import Parameter

PROJECT = "studio"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def studio_parse_range(name: str, text: str, grid: bool) -> Parameter | None:
    """Return the parameter that the range `text` of hyperparameter `name` describes. Stops at the first non-None result.

    Called once per hyperparameter, before anything is started. `grid` selects the range grammar: it is the `grid`
    attribute of the chosen optimizer. Return None for a text that your plugin does not parse; raise `studio.StudioError`
    for one that it parses and that is wrong. The built-in parsers come last and take every text.
    """


@hookspec
def studio_optimizers() -> list[type[Optimizer]]:
    """Return the search strategies that this plugin adds; users choose them by `name` and `aliases`.

    Called when an optimizer is looked up or listed. Import heavy libraries inside the class, not in the module.
    """
    return []


@hookspec
def studio_pruners() -> list[type[Pruner]]:
    """Return the rules for stopping runs early that this plugin adds; users choose them by `--prune=NAME`.

    Called when a rule is looked up or listed.
    """
    return []


@hookspec
def studio_backends() -> list[type[Backend]]:
    """Return the execution backends that this plugin adds; users choose them by `name` and `aliases`.

    Called when a backend is looked up or listed.
    """
    return []


@hookspec
def studio_open_metric(metric: Metric, run: Run) -> MetricReader | None:
    """Return a reader of `metric` in the files of `run`.

    Called on the machine that runs the script, when it starts; its files do not exist yet. Also called once before
    anything starts, to check that some plugin reads a metric of that name, so opening must touch nothing. Without
    `--metric` the metric is `fitness`. Return None for a name that your plugin does not read. A name with a prefix, such
    as `jsonl:FILE:KEY`, is read by one plugin. For a name without a prefix all returned readers are used, in the order of
    their `precedence`. The name `*` stands for no metric: its readers report nothing, and list the existing `names`.
    """
