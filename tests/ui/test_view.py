"""What a view of the table shows: queries, states, brushes and order, the same for pages, CSV and the script of the page."""

import csv
import io
import json
import random
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

from studio import ui
from studio.errors import BadInput
from studio.ui.query import parse_query
from tests.ui.conftest import ran

ROWS = [
    {"lr": 0.001, "opt": "adam", "my name": "A b", "state": "done", "flag": True, "gone": None},
    {"lr": 0.1, "opt": "SGD", "my name": "c", "state": "failed", "flag": False, "gone": None},
    {"lr": 10.0, "opt": "10", "my name": "1e-3", "state": "running", "flag": True, "gone": 1},
    {"lr": None, "opt": None, "my name": "not", "state": "done", "flag": None, "gone": 2},
]
QUERIES = [
    "lr < 1e-2", "lr<=.1", "lr>=0.1 and opt=sgd", "lr != 0.1", "opt != adam", "opt ~ D", "lr ≥ 0.1 or state = done", "lr≠0.1",
    "not lr < 1", "not (lr < 1 or opt = 10)", "(lr > 1)", "adam", "ADAM or c", '"A b"', "'my name' = 'a b'", '"my name" ~ "\\""',
    "opt < 11", "opt = 10", "LR = 10", "lr == 10.0", "gone != 1", "gone > 0 lr > 1", "flag = true", "flag = 1", "flag < 1", "state=done",
    "lr <", "and", "or", "()", "(lr < 1", "lr < 1)", "nix = 1", "lr < x", "= 1", "lr < 1e-2 opt", "\"open", "not",
    "lr < nan", "lr = inf", "lr < 1_0", "opt ~ ''", "lr < ' '", "lr = 1 = 1", "!", "a b c", "#", "NOT lr < 1", "lr < 1 AND opt = adam",
]  # fmt: skip


def matching(query):
    """Indices of ROWS, or the text of the error."""
    columns = {name: (lambda at, name=name: ROWS[at][name]) for name in ROWS[0]}
    try:
        holds = parse_query(query, columns, lambda at: [v for v in ROWS[at].values() if isinstance(v, str)])
    except BadInput as error:
        return str(error)
    return [at for at in range(len(ROWS)) if holds(at)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("lr < 1e-2", [0]),
        ("lr != 0.1", [0, 2]),  # what is missing is no answer, not even to !=
        ("opt = sgd", [1]),
        ("not lr < 1", [2, 3]),
        ("adam or c", [0, 1]),
        ("'my name' = 'a b'", [0]),
        ("nix = 1", "No column is called nix."),
        ("lr < x", "< needs a number, not x."),
        ("(lr < 1", "A closing ) is missing."),
    ],
)
def test_queries(query, found):
    assert matching(query) == found


@pytest.mark.skipif(shutil.which("node") is None, reason="the script of the page runs in node here")
def test_the_server_reads_queries_as_the_page_does(tmp_path):
    rng = random.Random(1)
    parts = [
        "lr",
        "opt",
        "gone",
        "(",
        ")",
        "and",
        "or",
        "not",
        "<",
        "<=",
        "=",
        "!=",
        "~",
        "1",
        "0.1",
        "adam",
        "'a",
        "b'",
        '"',
        "nix",
        "1e-3",
        "≥",
    ]
    queries = [*QUERIES, *(" ".join(rng.choices(parts, k=rng.randint(1, 7))) for _ in range(3000))]
    (tmp_path / "query.mjs").write_text((Path(ui.__file__).parent / "static" / "query.js").read_text())
    (tmp_path / "main.mjs").write_text(
        """
        import { readFileSync } from "node:fs";
        import { parseQuery } from "./query.mjs";
        const { rows, queries } = JSON.parse(readFileSync(0, "utf8"));
        const columns = new Map(Object.keys(rows[0]).map((name) => [name, (at) => rows[at][name]]));
        const texts = (at) => Object.values(rows[at]).filter((value) => typeof value === "string");
        console.log(JSON.stringify(queries.map((query) => {
          try {
            const holds = parseQuery(query, columns, texts);
            return rows.map((_, at) => at).filter((at) => holds(at));
          } catch (error) {
            return error.message;
          }
        })));
        """
    )
    done = subprocess.run(
        ["node", tmp_path / "main.mjs"],
        input=json.dumps({"rows": ROWS, "queries": queries}),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = dict(zip(queries, json.loads(done.stdout), strict=True))
    assert {query: matching(query) for query in queries} == theirs


def test_a_query_that_is_nested_without_end_is_refused():
    assert matching("(" * 50_000) == "The query is nested too deeply."
    assert matching("not " * 50_000) == "The query is nested too deeply."


def csv_numbers(browser, **words):
    answer = browser.get(f"/api/p/digits/export.csv?{urlencode(words, doseq=True)}")
    assert answer.status_code == 200, answer.text
    return [int(row["number"]) for row in csv.DictReader(io.StringIO(answer.text))]


def test_csv_of_the_view(browser, project):
    project(count=7)  # 3 and 6 failed; losses fall with the number, and lr with them
    assert csv_numbers(browser) == [1, 2, 3, 4, 5, 6, 7]
    assert csv_numbers(browser, q="opt = adam") == [7, 5, 1, 3]  # the best first, as in the table
    assert csv_numbers(browser, q="opt = adam", sort="number") == [1, 3, 5, 7]
    assert csv_numbers(browser, state="failed") == csv_numbers(browser, status="failed") == [3, 6]
    assert csv_numbers(browser, state="all", sort="-lr") == [1, 2, 3, 4, 5, 6, 7]
    assert csv_numbers(browser, sort="metric.val_loss,number") == [7, 5, 4, 2, 1, 3, 6]
    assert csv_numbers(browser, sort="-metric.val_loss", brush="lr:0.02:0.05") == [2, 4, 5, 3]
    assert csv_numbers(browser, brush=["lr::0.05", "opt:in:adam"], sort="number") == [3, 5, 7]
    assert csv_numbers(browser, brush=["nix:0:1", "lr:x:1", "%%%"], sort="opt,-number") == [7, 5, 3, 1, 6, 4, 2]
    assert csv_numbers(browser, q="state = done time > 1 #5") == [5]
    assert csv_numbers(browser, q="luck") == [3, 6]  # their reason
    numbers = [row["experiment"] for row in browser.json("/api/p/digits/export.json?q=%23+%3E+5")]
    assert numbers == ["digits/7", "digits/6"]
    answer = browser.get("/api/p/digits/export.csv?q=lr+%3C")
    assert (answer.status_code, answer.json()["error"]) == (400, "A value is missing after lr <")


def test_keys_that_a_script_escaped(browser, project):
    store = project(count=0, ranges={"a,b:c": "0:1", "100%": "0:1"})
    for number in (1, 2, 3):
        store.ask(number, {"a,b:c": number / 10, "100%": -number}, None)
    assert csv_numbers(browser, sort="-a%2Cb%3Ac") == [3, 2, 1]
    assert csv_numbers(browser, sort="100%") == [3, 2, 1]
    assert csv_numbers(browser, brush="a%2Cb%3Ac:0.2:", sort="number") == [2, 3]


def test_the_page_without_scripts_shows_the_view_of_its_address(browser, project):
    store = project(count=0)
    with store.transaction():
        for number in range(1, 6):
            ran(store, number)
    text = browser.get("/p/digits?q=opt+%3D+sgd&sort=number").text
    assert 'data-number="2"' in text
    assert 'data-number="1"' not in text
    assert 'href="/api/p/digits/export.csv?q=opt+%3D+sgd&amp;sort=number"' in text
    assert "No column is called nix." in browser.get("/p/digits?q=nix+%3D+1").text
    assert 'href="/api/p/digits/export.csv"' in browser.get("/p/digits").text
