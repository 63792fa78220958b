"""The dashboard in a real browser, and optuna-dashboard on as many trials where it is installed.

    make ui && python benchmarks/ui.py [--counts 100 1000 10000 50000] [--rounds 3]
                                       [--optuna PATH/TO/optuna-dashboard] [--optuna-counts 100 1000 10000]

Printed are medians. row: milliseconds from `goto` until the first row of the server is painted, with a warm cache. shift: layout
shift until all is drawn, as https://web.dev/cls has it. table, chart: until the table is alive and the first picture is there (of
optuna-dashboard: its list of trials, and the first of its plots). sort: until the frame after a click is drawn. task: the longest
piece of work that blocked the page. wire: bytes, compressed. memory: MB of the server, after it.
late: from a metric written by a script until its row shows it. idle: CPU of the server with one page open and no news.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
STUDIO = Path(sys.executable).with_name("studio")
WATCH_TASKS = """
window.tasks = [0];
new PerformanceObserver(list => { for (const each of list.getEntries()) tasks.push(each.duration) })
  .observe({ type: "longtask", buffered: true });
"""
WATCH_ROW = """
window.painted = new Promise(done => {
  const look = () => document.querySelector("#rows tbody td.m b")
    ? requestAnimationFrame(() => done(performance.now()))
    : requestAnimationFrame(look);
  look();
});
window.shift = 0;
new PerformanceObserver(list => { for (const each of list.getEntries()) if (!each.hadRecentInput) shift += each.value })
  .observe({ type: "layout-shift", buffered: true });
"""
SORT = """async () => {
  const begun = performance.now();
  document.querySelector('th button[data-key=lr]').click();
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun;
}"""
WIRE = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((sum, each) => sum + each.transferSize, 0)"""
SCRIPT = (
    "import time\nlr = 0.5\nfor n in range(10**6):\n    print('fitness:', n + lr, flush=True)\n    time.sleep(0.25)\n"
)
OPTUNA = """
import random, sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="s", storage=sys.argv[1])
D = optuna.distributions
space = {"lr": D.FloatDistribution(1e-5, 0.1, log=True), "dropout": D.FloatDistribution(0, 0.6),
         "layers": D.IntDistribution(1, 8), "width": D.IntDistribution(16, 1024), "opt": D.CategoricalDistribution(["adam", "sgd"])}
def trial():
    values = {"lr": 10 ** random.uniform(-5, -1), "dropout": random.uniform(0, 0.6), "layers": random.randint(1, 8),
              "width": random.randint(16, 1024), "opt": random.choice(["adam", "sgd"])}
    return optuna.trial.create_trial(params=values, distributions=space, value=random.random())
study.add_trials([trial() for _ in range(int(sys.argv[2]))])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000, 50_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--optuna-counts", type=int, nargs="+", default=[100, 1000], help="10000 takes minutes")
    parser.add_argument("--optuna", help="the command optuna-dashboard; its python must have optuna, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        measure_studio(browser, Path(folder), given.counts, given.rounds)
        if given.optuna:
            measure_optuna(browser, Path(folder), given.optuna_counts, given.rounds, Path(given.optuna))
        browser.close()


def measure_studio(browser: Any, folder: Path, counts: list[int], rounds: int) -> None:
    env = {**os.environ, "STUDIO_HOME": str(folder / "home")}
    for count in counts:
        subprocess.run([sys.executable, HERE / "synthetic_project.py", f"p{count}", str(count)], env=env, check=True)
    (folder / "train.py").write_text(SCRIPT)
    search = subprocess.Popen([STUDIO, "run", "--project=live", "--hyperparam=lr=0.5", "train.py"], env=env, cwd=folder,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    server = subprocess.Popen([STUDIO, "ui", "--no-open", "--port=0"], env=env, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    link = server.stdout.readline().strip()
    address = link.split("/?")[0]
    try:
        names = ("studio", "row", "shift", "table", "chart", "sort", "task", "nodes", "wire", "memory")
        print("".join(f"{name:>8}" for name in names))
        for count in counts:
            found = [studio_round(browser, link, f"{address}/p/p{count}") for _ in range(rounds + 1)][
                1:
            ]  # the first warms up
            medians = [statistics.median(column) for column in zip(*found, strict=True)]
            print(
                "".join(
                    f"{each:>8.3f}" if at == 1 else f"{each:>8.0f}" for at, each in enumerate([count, *medians], -1)
                ),
                memory(server.pid),
            )
        late = delays(browser, link, f"{address}/p/live", folder / "home/projects/live/1/1/output.log")
        print(f"late: median {statistics.median(late):.2f} s, most {max(late):.2f} s of {len(late)}")
        print(f"idle: {idle(browser, link, f'{address}/p/p{counts[0]}', server.pid):.1f} % of one CPU")
    finally:
        server.terminate()
        search.terminate()
        server.communicate()
        search.wait()


def studio_round(browser: Any, link: str, url: str) -> tuple[float, ...]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH_TASKS + WATCH_ROW)
    page.goto(link)
    page.goto(url)
    page.wait_for_selector("#more [role=tab]")
    page.goto(url)  # the cache is warm
    page.wait_for_selector("#more [role=tab]")
    page.wait_for_timeout(1500)
    marks = "name => performance.getEntriesByName(name)[0].startTime"
    found = (page.evaluate(marks, "studio-table"), page.evaluate(marks, "studio-best"))
    task, nodes, wire = page.evaluate(f"[Math.max(...tasks), document.querySelectorAll('*').length, {WIRE}]")
    sort = statistics.median(page.evaluate(SORT) for _ in range(3))
    row, shift = page.evaluate("painted"), page.evaluate("shift")
    context.close()
    return (row, shift, *found, sort, task, nodes, wire)


def delays(browser: Any, link: str, url: str, log: Path) -> list[float]:
    """Return the seconds from a value in the log until the page shows it."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    page.goto(url)
    cell = page.locator('#rows td[data-key="metric.fitness"] b')
    cell.wait_for()
    written: dict[str, float] = {}
    shown: dict[str, float] = {}
    end = time.monotonic() + 8
    while time.monotonic() < end:
        if values := re.findall(r"fitness: (\d+\.5)\n", log.read_text()[-200:]):
            written.setdefault(values[-1], time.monotonic())
        shown.setdefault(cell.inner_text(), time.monotonic())
    context.close()
    texts = {text: f"{float(text):#.4g}" for text in written}
    return [shown[texts[text]] - at for text, at in written.items() if texts[text] in shown]


def idle(browser: Any, link: str, url: str, pid: int, seconds: float = 10) -> float:
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    page.goto(url)
    page.wait_for_timeout(4000)
    before = cpu(pid)
    page.wait_for_timeout(1000 * seconds)
    used = cpu(pid) - before
    context.close()
    return 100 * used / seconds


def memory(pid: int) -> int:
    """Return the memory of a process in MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) // 1024  # type: ignore[index]


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_optuna(browser: Any, folder: Path, counts: list[int], rounds: int, command: Path) -> None:
    print(f"{'optuna':>8} {'table':>6} {'chart':>6} {'task':>5} {'nodes':>6} {'wire':>8}")
    for count in counts:
        storage = f"sqlite:///{folder}/optuna{count}.db"
        subprocess.run([command.with_name("python"), "-c", OPTUNA, storage, str(count)], check=True)
        server = subprocess.Popen(
            [command, storage, "--port=8979"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(4)
            found = [optuna_round(browser) for _ in range(rounds)]
        finally:
            server.terminate()
            server.wait()
        table, chart, task, nodes, wire = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{count:>8} {table:>6.0f} {chart:>6.0f} {task:>5.0f} {nodes:>6.0f} {wire:>8.0f}")


def optuna_round(browser: Any) -> tuple[float, ...]:
    def until(path: str, selector: str) -> tuple[float, Any]:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.add_init_script(WATCH_TASKS)
        begun = time.perf_counter()
        page.goto(f"http://127.0.0.1:8979/dashboard/studies/1{path}")
        page.wait_for_selector(selector)
        return 1000 * (time.perf_counter() - begun), page

    table, page = until("/trials", ".MuiListItem-root:has-text('Complete')")
    page.context.close()
    chart, page = until("", ".js-plotly-plot .main-svg .trace")
    page.wait_for_timeout(1500)
    more = page.evaluate(f"[Math.max(...tasks), document.querySelectorAll('*').length, {WIRE}]")
    page.context.close()
    return (table, chart, *more)


if __name__ == "__main__":
    main()
