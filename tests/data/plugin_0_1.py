"""A plugin as the documentation of version 0.1 had it. It must go on loading: do not change this file."""

import numpy as np

import studio


class Halton(studio.Optimizer):
    """Halton's sequence."""

    name = "halton-0-1"
    aliases = ("halton1",)
    needs_fitness = False

    def __init__(self, space, *, seed, n: int = 5):
        self.space, self.size, self.count = space, n, 0

    def ask(self):
        if self.count == self.size:
            self.done, self.done_reason = True, "all points were asked for"
            return None
        self.count += 1
        return self.space.suggestion(np.full(self.space.dimensions, self.count / (self.size + 1)))

    def tell(self, suggestion, fitness):
        pass


class Percent(studio.Parameter):
    def __init__(self, name):
        self.name = name

    def from_unit(self, u):
        return float(np.clip(u, 0, 1)[0] * 100)

    def to_unit(self, value):
        return np.array([value / 100])


class Reader(studio.MetricReader):
    names = ("old",)

    def read(self):
        return [studio.Report(step=1, value=0.5)]


@studio.hookimpl
def studio_optimizers():
    return [Halton]


@studio.hookimpl
def studio_parse_range(name, text, grid):
    return Percent(name) if text == "%" else None


@studio.hookimpl
def studio_open_metric(metric):
    return Reader() if metric.name == "old:metric" else None
