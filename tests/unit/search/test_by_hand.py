"""Values that the user added by hand: they run next, and the optimizer's path stays the one of its seed."""

import numpy as np
import pytest

import studio
from studio.project import inbox as requests
from studio.project.inbox import Request


def run(search, count):
    asked = []
    for _ in range(count):
        suggestion = search.ask()
        search.tell(suggestion, -abs(suggestion.values["x"] - 0.3))
        asked.append(suggestion.values["x"])
    return asked


def test_they_come_next_and_beside_the_budget():
    search = studio.Search({"x": "0:1"}, optimizer="cma", seed=1, max_experiments=3)
    run(search, 1)
    assert search.add({"x": 5.0}) == 2  # outside of its range: it is meant
    assert run(search, 3)[0] == 5.0
    assert search.ask() is None
    assert search.done
    assert len(search.experiments) == 4


def test_a_search_that_is_done_goes_on_for_them():
    search = studio.Search({"x": [1, 2]}, optimizer="grid")
    assert run(search, 2) == [1, 2]
    assert search.done
    search.add({"x": 3})
    assert not search.done
    assert run(search, 1) == [3]
    assert search.done


@pytest.mark.parametrize("optimizer", ["cma", "random"])
def test_the_optimizer_asks_for_the_same_as_without(optimizer):
    options = {"optimizer": optimizer, "seed": 4, "max_experiments": 30}
    plain = run(studio.Search({"x": "0:1"}, **options), 30)
    search = studio.Search({"x": "0:1"}, **options)
    mixed = run(search, 7)
    search.add({"x": 0.3})
    assert run(search, 1) == [0.3]
    assert mixed + run(search, 23) == plain
    assert search.best.values == {"x": 0.3}  # and the best may be one of them


def test_they_are_there_after_a_resume(home):
    options = {"optimizer": "cma", "seed": 4, "max_experiments": 12}
    plain = run(studio.Search({"x": "0:1"}, **options), 12)
    first = studio.Search({"x": "0:1"}, project="p", **options)
    before = run(first, 5)
    first.add({"x": 0.3})
    first.close()  # added, and not run yet
    second = studio.Search({"x": "0:1"}, project="p", **options)
    assert run(second, 1) == [0.3]
    second.add({"x": 0.4})
    between = run(second, 3)
    second.close()
    third = studio.Search({"x": "0:1"}, project="p", **options)
    assert before + between[1:] + run(third, 5) == plain
    assert third.done
    third.close()
    assert [experiment.number for experiment in studio.Project("p").experiments] == list(range(1, 15))


def test_a_fresh_optimizer_does_not_hear_of_them_either(home):
    search = studio.Search({"x": "0:1"}, project="p", optimizer="cma", seed=4)
    search.add({"x": 9.0})  # no point of its space
    run(search, 3)
    search._journal._write("UPDATE events SET point = '[0.123]' WHERE number = ?", (2,))  # so that the replay differs
    search.close()
    again = studio.Search({"x": "0:1"}, project="p", optimizer="cma", seed=4, accept_changes=True)
    assert len(again.experiments) == 3
    run(again, 20)
    again.close()


def test_arrays():
    search = studio.Search({"w": "0:1:3:a"}, optimizer="random", seed=1)
    search.add({"w": [1.0, 2.0, 3.0]})
    assert np.array_equal(search.ask().values["w"], np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("values", [{}, {"y": 1}, {"x": 1, "y": 1}])
def test_all_names_are_needed(values):
    search = studio.Search({"x": "0:1"}, optimizer="random")
    with pytest.raises(studio.StudioError, match="are needed"):
        search.add(values)
    assert search.experiments == []


def test_reports_of_them_are_for_nobody():
    class Pruner(studio.Optimizer):
        name = "pruner"

        def __init__(self, space, *, seed):
            self.space, self.heard = space, []

        def ask(self):
            return self.space.suggestion([0.5])

        def tell(self, suggestion, fitness):
            self.heard.append(suggestion.values["x"])

        def report(self, suggestion, step, fitness):
            return True

    search = studio.Search({"x": "0:1"}, optimizer=Pruner)
    search.add({"x": 7})
    suggestion = search.ask()
    assert search.report(suggestion, 1, 0.5) is False
    search.tell(suggestion, 0.5)
    assert search._optimizer.heard == []
    assert search.report(search.ask(), 1, 0.5) is True


# --- notes to a driver ----------------------------------------------------------------------------------------------------


def test_requests_come_back_as_they_were_left(tmp_path):
    left = [
        Request("queue", values={"x": [1, "a", None]}),
        Request("budget", experiments=3, seconds=60.0),
        Request("pause"),
    ]
    for request in left:
        requests.post(tmp_path, request)
    found = [request for _, request in requests.pending(tmp_path)]
    assert sorted(found, key=str) == sorted(left, key=str)
    requests.discard_stale(tmp_path)  # a pause was for a driver that has ended; what is to be done stays to be done
    assert {request.action for _, request in requests.pending(tmp_path)} == {"queue", "budget"}


def test_a_stale_request_may_be_withdrawn_while_it_is_discarded(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "pending", lambda project: [(project / "withdrawn.json", Request("stop"))])
    requests.discard_stale(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"action": "explode"}',
        '{"action": "budget", "experiments": "x"}',
        '{"action": "queue", "values": 3}',
        '{"action": "budget", "seconds": 1e999, "experiments": 1e999}',
    ],
)
def test_what_is_no_request_is_removed(tmp_path, text):
    (tmp_path / "requests").mkdir()
    (tmp_path / "requests" / "1.json").write_text(text)
    assert requests.pending(tmp_path) == []
    assert list((tmp_path / "requests").iterdir()) == []
