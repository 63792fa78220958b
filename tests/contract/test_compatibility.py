"""The promise of docs/plugins.md: a plugin of version 0.1 loads and works."""

import importlib.util
from pathlib import Path

import pytest

import studio
from studio.experiment import Metric, Run
from studio.host import create_host
from studio.search.ask_tell.search import Search


@pytest.fixture
def host():
    spec = importlib.util.spec_from_file_location("plugin_0_1", Path(__file__).parents[1] / "data" / "plugin_0_1.py")
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    return create_host(plugins=[plugin])


def test_its_optimizer_and_its_range(host):
    assert host.problems == []
    search = Search({"x": "%", "y": "0:1"}, optimizer="halton1", options={"n": "3"}, host=host)
    assert [suggestion.values for suggestion in search] == [
        {"x": pytest.approx(25 * k), "y": pytest.approx(k / 4)} for k in (1, 2, 3)
    ]
    assert search.done_reason == "all points were asked for"


def test_its_metric(host):
    run = Run("p", 1, 1, "/nowhere", {}, {}, [], {}, "/nowhere")
    reader = host.open_metric(Metric("old:metric", "min"), run)
    assert [report.value for report in reader.read()] == [0.5]
    assert isinstance(reader, studio.MetricReader)
