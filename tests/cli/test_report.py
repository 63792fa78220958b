"""`studio report`: an HTML file that stands alone and stays small, and Markdown for a pull request."""

import base64
import hashlib
import html.parser
import re
import shlex
import shutil
import time
from dataclasses import replace

import pytest

import studio
from studio.format import number
from studio.reporting.axes import Axis
from studio.reporting.facts import Facts, failures_of, repeating_command
from studio.reporting.report import MAX_PAGE_BYTES, html_report, markdown_report
from studio.reporting.scales import Point, best_so_far, even_ticks, log_ticks, scale_of, value_scale
from studio.reporting.svg import best_chart
from studio.settings import Settings

HOSTILE = "<img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(html.parser.HTMLParser):
    """Tags of a page, their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def project(recorded):
    failed = "exit code 1: step 1: </td><script>alert(1)</script> `x` | @everyone"
    results = [
        ({"lr": lr, "name": name}, failed if lr == 0.5 else -lr) for lr in (0.5, 0.25, 0.125) for name in ("a", HOSTILE)
    ]
    ranges = {"lr": [0.5, 0.25, 0.125], "name": ["a", HOSTILE]}
    return recorded("digits", results, ranges=ranges, optimizer="grid", direction="min", env=["TOKEN"])


def report(command, *arguments):
    result = command("report", "digits", *arguments)
    assert result.code == 0, result.err
    return result


# --- HTML -------------------------------------------------------------------------------------------------------------


def test_the_page_says_what_came_of_the_search(project, command, workdir):
    assert report(command).err.startswith("studio: wrote digits.html (")
    page = Page((workdir / "digits.html").read_text())
    text = " ".join(" ".join(page.words).split())
    assert "digits done: " in text
    assert "4 completed" in text
    assert "2 failed" in text
    assert "Best: -0.25 with lr = 0.25, name = a" in text
    assert "exit code 1: step 1: </td><script>alert(1)</script>" in text
    assert re.search(r"studio run --hyperparam=lr=.* --seed=\d+ --direction=min ", text)
    assert page.tags.count("svg") == 3  # the best so far, lr, name


def test_nothing_in_the_page_asks_for_anything(project, command, workdir):
    report(command)
    text = (workdir / "digits.html").read_text()
    page = Page(text)
    assert not {"script", "img", "link", "iframe", "form", "object", "base", "foreignobject"} & set(page.tags)
    names = {name for _, name, _ in page.attributes}
    assert not {"href", "src", "style", "xlink:href", "srcset", "action"} & names
    assert [name for name in names if name.startswith("on")] == []
    assert "secret" not in text
    assert "\x1b" not in text
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "url(" not in style


def test_a_browser_opens_it_from_disk_without_complaint(project, command, workdir):
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    report(command)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        heard, asked = [], []
        page.on("console", lambda message: heard.append(message.text))
        page.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((workdir / "digits.html").as_uri())
        assert page.locator("svg").first.bounding_box()["width"] > 300
        assert (
            page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "24px"
        )  # the style is allowed
        browser.close()
    assert heard == []
    assert asked == [(workdir / "digits.html").as_uri()]


def facts(count, parameters, text="x"):
    names = [f"{text}{at}" for at in range(parameters)]
    points = [
        Point(n, (n * 7919 % 10007) / 10007, {name: (n * 31 + len(name)) % 9973 for name in names})
        for n in range(1, count + 1)
    ]
    best = [
        studio.Experiment("p", point.number, "completed", point.values, -point.value, None, None, None, 1.0)
        for point in points[:20]
    ]
    failed = [
        studio.Experiment(
            "p", count + at, "failed", {}, reason=f"{'abcdefghijklmnopqrstuvwxyz'[at % 26]} " + "&" * 5000
        )
        for at in range(1000)
    ]
    axes = [Axis(name, "real", low=0.0, high=1e4) for name in names]
    command = "studio run " + "<" * 100_000
    return Facts(
        "p", "done", "val_loss:min", -1.0, "cma", "train.py", command, {"completed": count}, "", "", 9.0, best,
        failures_of(failed), points, axes,
    )  # fmt: skip


@pytest.mark.parametrize(("count", "parameters", "text"), [(10_000, 6, "x"), (1_000, 200, "&" * 500)])
def test_the_page_stays_below_its_bound(count, parameters, text):
    begun = time.process_time()
    page = html_report(facts(count, parameters, text))
    assert len(page.encode()) < MAX_PAGE_BYTES
    assert time.process_time() - begun < 20


def test_what_is_drawn_of_many_has_the_best():
    given = facts(10_000, 1)
    best = min(given.points, key=lambda point: point.value)
    assert f"<title>#{best.number}: {number(best.value)}</title>" in html_report(given)


def test_no_results(home, command, workdir):
    studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="digits").close()
    report(command)
    assert "No experiment has a result yet." in (workdir / "digits.html").read_text()
    assert "No experiment has a result yet." in report(command, "--format=md").out


# --- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_is_short_and_goes_to_stdout(project, command):
    result = report(command, "--format", "md")
    lines = result.out.splitlines()
    assert lines[0] == "### Search `digits`"
    assert "**Best: `-0.25`** with `lr = 0.25`, `name = a` (experiment 3)" in lines
    assert "| # | `fitness` | `lr` | `name` | time |" in lines
    assert "- 2 × ``exit code 1: step 1: </td><script>alert(1)</script> `x` \\| @everyone``" in lines
    assert result.out.rstrip().endswith("train.py\n```")
    assert len(lines) < 30


def test_the_name_of_the_file_says_the_format(project, command, workdir):
    report(command, "-o", "report.md")
    assert (workdir / "report.md").read_text() == report(command, "--format=md").out
    assert report(command, "-o", "-").out.startswith("<!DOCTYPE html>")


def test_devices_stay_what_they_are(project, command, workdir):
    (workdir / "null").symlink_to("/dev/null")
    report(command, "-o", "null")
    assert (workdir / "null").is_char_device()


def test_nothing_of_a_run_leaves_its_code_span(project):
    hostile = "``` | <b> @x #1 [a](javascript:1) `"
    text = markdown_report(facts(3, 1, hostile))
    spans = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text.replace("```bash", ""), flags=re.DOTALL)
    assert "javascript" not in spans
    assert "<b>" not in spans


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no project 'nothing'"),
        (["digits", "--format=pdf"], "--format 'pdf' is not one of html, md"),
        (["digits", "-o", "missing/report.html"], "cannot write 'missing/report.html': No such file or directory"),
        (["digits", "-o", "."], "cannot write '.': Is a directory"),
    ],
)
def test_errors_are_one_line(home, command, workdir, arguments, words):
    studio.Search({"x": "0:1"}, optimizer="random", seed=1, project="digits").close()
    result = command("report", *arguments)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1


# --- the parts --------------------------------------------------------------------------------------------------------


def test_the_command_repeats_the_search(project, command, script):
    text = repeating_command(Settings.from_dict(project.settings), studio.create_host())
    assert shlex.split(text)[:4] == [
        "studio",
        "run",
        "--hyperparam=lr=0.5,0.25,0.125",
        "--hyperparam=name=a,'<img src=x onerror=alert(1)>'",
    ]
    assert text.endswith(" --env=TOKEN train.py")
    assert repeating_command(Settings(""), studio.create_host()) == ""


def test_the_command_of_a_backend_that_is_gone_says_where_it_ran():
    settings = Settings("train.py", backend="cluster", backend_options={"nodes": 3})
    assert repeating_command(settings, studio.create_host()) == "studio run --backend=cluster train.py"


def test_reasons_that_differ_by_numbers_are_one_group():
    failed = [
        studio.Experiment("p", at, "failed", {}, reason=reason)
        for at, reason in enumerate(["at 0x7f: 1.5", "other", "at 0x8a: 22"], 1)
    ]
    assert [(group.reason, group.numbers) for group in failures_of(failed)] == [
        ("at 0x7f: 1.5", [1, 3]),
        ("other", [2]),
    ]


def test_a_result_beyond_the_axis_is_marked():
    values = [100.0, *(0.1 + 0.01 * number for number in range(30))]
    chart = best_chart([Point(number, value, {}) for number, value in enumerate(values, 1)], -1.0, "loss")
    assert chart.count('class="beyond"') == 1
    assert "<title>#1: 100</title>" in chart


def test_best_so_far_goes_one_way():
    points = [Point(n, value, {}) for n, value in enumerate([3, 5, 2, 2, 4, 1], 1)]
    assert [point.number for point in best_so_far(points, -1.0)] == [1, 3, 6]
    assert [point.number for point in best_so_far(points, 1.0)] == [1, 2]


def test_results_far_away_are_drawn_at_the_edge():
    points = [Point(n, float(value), {}) for n, value in enumerate([1, 2, 3, 4, 1e9])]
    assert [(s.low, s.high) for s in (value_scale(points[:n], -1.0, "loss") for n in (5, 4, 1))] == [
        (1.0, 7.0),
        (1.0, 4.0),
        (0.95, 1.05),
    ]


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 5e-324, 0.0])
def test_numbers_at_the_ends_of_floats_are_drawn(value):
    points = [Point(1, value, {"x": value}), Point(2, -value, {"x": -value}), Point(3, 1.0, {"x": 10**400})]
    axis = Axis("x", "real")
    given = replace(facts(3, 1), points=points, axes=[axis, Axis("y", "choice", choices=(1, 10**400))])
    assert "nan" not in html_report(given)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.29, 0.58, [0.3, 0.35, 0.4, 0.45, 0.5, 0.55]),
        (-5, 5, [-4, -2, 0, 2, 4]),
        (1, 30, [5, 10, 15, 20, 25, 30]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert even_ticks(low, high, 6) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1e-5, 0.1, [1e-5, 1e-4, 1e-3, 0.01, 0.1]), (2, 30, [2, 5, 10, 20]), (1e-9, 1e9, [1e-9, 1e-5, 0.1, 1e3, 1e7])],
)
def test_ticks_of_a_log_axis(low, high, expected):
    assert log_ticks(low, high, 5) == pytest.approx(expected)


def test_one_value_without_a_logarithm_leaves_the_axis_as_it_is():
    axis = Axis("lr", "real", True, 1e-3, 10.0)
    scale = scale_of(axis, [Point(n, 1.0, {"lr": lr}) for n, lr in enumerate([0.01, 1.0, -5.0], 1)])
    assert (scale.log, scale.low, scale.high) == (True, 1e-3, 10.0)
    assert [scale.place(lr) for lr in (0.1, -5.0, 0.0)] == pytest.approx([0.5, 0.0, 0.0])
