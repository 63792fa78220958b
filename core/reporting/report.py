"""Report of a search: one page as a self-contained HTML file, or as Markdown for a pull request.

The page has no script and sends no requests: its Content-Security-Policy allows only its own style, by hash. Every part has
a maximum size, so the page stays smaller than `MAX_PAGE_BYTES` for any number of experiments.
"""

import base64
import hashlib
import html
import re
from collections.abc import Sequence

from studio.experiment import Experiment
from studio.format import clipped, counts, direction, duration, metric_value, short
from studio.reporting.facts import Facts
from studio.reporting.scales import scale_of
from studio.reporting.svg import best_chart, slice_chart

MAX_PAGE_BYTES = 1_000_000  # of the HTML page; a test checks it
MAX_CHARTS = 24  # of hyperparameters
MAX_BEST_ROWS = 20  # best experiments in the HTML page
MAX_MARKDOWN_ROWS = 10  # best experiments in Markdown
MAX_COLUMNS = 24  # hyperparameters in a table
MAX_CELL = 40  # characters of a cell
MAX_REASON = 300  # characters of a reason, name or title
MAX_COMMAND = 4000  # characters of a command
MAX_NUMBERS = 10  # experiments that are listed for a group of failures

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #667; --line: #d8dae0; --page: #fff; --mark: #2563c9; --dot: #7d93b5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #9aa1ad; --line: #3a3f48; --page: #16181c; --mark: #6ea3f7;
--dot: #5d6f8c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1340px; margin: 0 auto; padding: 24px; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 32px 0 8px; } p { margin: 4px 0; }
.soft { color: var(--soft); } .lead { font-size: 20px; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { max-width: 420px; overflow-wrap: break-word; } th { color: var(--soft); font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); gap: 16px 24px; }
figure { margin: 0; } figcaption { font-weight: 600; overflow-wrap: anywhere; } svg { width: 100%; height: auto; display: block; }
.wide { max-width: 900px; } svg text { fill: var(--soft); font-size: 11px; } .side { text-anchor: end; } .below { text-anchor: middle; }
.grid { stroke: var(--line); } .beyond { fill: var(--dot); }
.dots { stroke: var(--dot); stroke-width: 5; stroke-linecap: round; stroke-opacity: .8; }
.line { fill: none; stroke: var(--mark); stroke-width: 2; } .best { fill: var(--mark); }
pre { padding: 10px 12px; border: 1px solid var(--line); border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { body { padding: 0; } figure, tr { break-inside: avoid; } }
"""


def html_report(facts: Facts) -> str:
    """Return the report as a self-contained HTML page."""
    policy = f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}'; base-uri 'none'; form-action 'none'"
    title = _text(f"{facts.name} – Studio", MAX_REASON)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{STYLE}</style></head><body>",
        f"<h1>{_text(facts.name, MAX_REASON)}</h1>",
        *(f'<p class="soft">{_text(line, MAX_REASON)}</p>' for line in _heading(facts)),
        _lead(facts),
        *_charts(facts),
        *_best_table(facts),
        *_failures(facts),
    ]
    if facts.command:
        parts.append(f"<h2>Run it again</h2>\n<pre>{_text(facts.command, MAX_COMMAND)}</pre>")
    return "\n".join([*parts, "</body></html>\n"])


def _lead(facts: Facts) -> str:
    if not facts.best:
        return '<p class="lead">No experiment has a result yet.</p>'
    best = facts.best[0]
    values = ", ".join(_assigned(name, value) for name, value in list(best.values.items())[:MAX_COLUMNS])
    return f'<p class="lead">Best: <b>{_text(_result(best), MAX_CELL)}</b> with {_text(values, MAX_COMMAND)}</p>'


def _charts(facts: Facts) -> list[str]:
    if len(facts.points) < 2:
        return []
    drawn = best_chart(facts.points, facts.sign, facts.metric)
    parts = [f'<h2>Results</h2>\n<figure class="wide"><figcaption>Best so far</figcaption>{drawn}</figure>']
    scales = [scale for axis in facts.axes if (scale := scale_of(axis, facts.points))]
    charts = [
        f"<figure><figcaption>{_text(scale.axis.label, MAX_CELL)}</figcaption>"
        f"{slice_chart(scale, facts.points, facts.sign, facts.metric)}</figure>"
        for scale in scales[:MAX_CHARTS]
    ]
    if charts:
        parts.append(f'<h2>By hyperparameter</h2>\n<div class="charts">{"".join(charts)}</div>')
    if len(scales) > MAX_CHARTS:
        parts.append(f'<p class="soft">{len(scales) - MAX_CHARTS} more hyperparameters are not drawn.</p>')
    return parts


def _best_table(facts: Facts) -> list[str]:
    if not facts.best:
        return []
    head, rows = _rows(facts, facts.best)
    numeric = [all(_is_number(row[at]) for row in rows) for at in range(len(head))]
    lines = [_table_row("th", head, numeric), *(_table_row("td", row, numeric) for row in rows)]
    parts = [f'<h2>The best</h2>\n<div class="scroll"><table>{"".join(lines)}</table></div>']
    more = len(facts.axes) - MAX_COLUMNS
    return [*parts, f'<p class="soft">{more} more hyperparameters are not shown.</p>'] if more > 0 else parts


def _failures(facts: Facts) -> list[str]:
    if not facts.failures:
        return []
    numeric = [True, False, False]
    lines = [_table_row("th", ["how many", "reason (of the first)", "experiments"], numeric)]
    lines += [
        _table_row("td", [str(len(group.numbers)), clipped(group.reason, MAX_REASON), _numbers(group.numbers)], numeric)
        for group in facts.failures
    ]
    return [f'<h2>Failures</h2>\n<div class="scroll"><table>{"".join(lines)}</table></div>']


def _table_row(tag: str, cells: Sequence[str], numeric: Sequence[bool]) -> str:
    """Return a row of a table with cells of the kind `tag`, which is `th` or `td`. Cells of `numeric` columns are right-aligned."""
    classes = [' class="number"' if is_numeric else "" for is_numeric in numeric]
    parts = [f"<{tag}{class_}>{html.escape(cell)}</{tag}>" for cell, class_ in zip(cells, classes, strict=True)]
    return f"<tr>{''.join(parts)}</tr>"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(text: str, limit: int) -> str:
    """Return `text` as HTML, cut to `limit` characters before it is escaped."""
    return html.escape(clipped(text, limit))


# --- HTML and Markdown ------------------------------------------------------------------------------------------------


def _heading(facts: Facts) -> list[str]:
    """Return three lines: the state with the counts, the times, and the metric with the optimizer and the script."""
    setup = [f"metric {facts.metric}, {direction(facts.sign)}"]
    setup += [f"optimizer {facts.optimizer}"] if facts.optimizer else []
    setup += [f"script {facts.script}"] if facts.script else []
    times = f"{duration(facts.seconds)} of experiments"
    begun, ended = (when[:16].replace("T", " ") for when in (facts.begun, facts.ended))
    times = f"{begun} to {ended} UTC, {times}" if ended else times
    return [f"{facts.state}: {counts(facts.counts) or 'no experiments yet'}", times, "; ".join(setup)]


def _rows(facts: Facts, best: Sequence[Experiment]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of the best experiments."""
    names = [axis.name for axis in facts.axes[:MAX_COLUMNS]]
    head = ["#", clipped(facts.metric, MAX_CELL), *(clipped(name, MAX_CELL) for name in names), "time"]
    return head, [
        [
            str(e.number),
            _result(e),
            *(clipped(short(e.values.get(name, "")), MAX_CELL) for name in names),
            duration(e.duration),
        ]
        for e in best
    ]


def _result(experiment: Experiment) -> str:
    return metric_value(experiment) or short(experiment.fitness)


def _assigned(name: str, value: object) -> str:
    return f"{clipped(name, MAX_CELL)} = {clipped(short(value), MAX_CELL)}"


def _numbers(numbers: Sequence[int]) -> str:
    """Return a list of experiments as text, at most `MAX_NUMBERS` of them."""
    more = f" and {len(numbers) - MAX_NUMBERS:,} more" if len(numbers) > MAX_NUMBERS else ""
    return ", ".join(map(str, numbers[:MAX_NUMBERS])) + more


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or text[0] in "-."


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown_report(facts: Facts) -> str:
    """Return a short report as Markdown. Texts from runs are in code spans, so that they cannot be links, mentions or HTML."""
    state, times, setup = _heading(facts)
    parts = [f"### Search {_code(facts.name)}", f"{state}. {times}."]
    parts.append(f"Metric {_code(facts.metric)}, {setup.partition(', ')[2].partition(';')[0]}.")
    if facts.best:
        best = facts.best[0]
        values = ", ".join(_code(_assigned(name, value)) for name, value in list(best.values.items())[:MAX_COLUMNS])
        parts.append(
            f"**Best: {_code(_result(best))}**{f' with {values}' if values else ''} (experiment {best.number})"
        )
        head, rows = _rows(facts, facts.best[:MAX_MARKDOWN_ROWS])
        lines = [" | ".join([head[0], *map(_code, head[1:-1]), head[-1]]), " | ".join("---" for _ in head)]
        lines += [" | ".join([row[0], *(_code(cell) if cell else " " for cell in row[1:-1]), row[-1]]) for row in rows]
        parts.append("\n".join(f"| {line} |" for line in lines))
    else:
        parts.append("No experiment has a result yet.")
    if facts.failures:
        lines = [
            f"- {len(g.numbers)} × {_code(clipped(g.reason, MAX_REASON) or 'no reason given')}"
            for g in facts.failures[:3]
        ]
        parts.append("\n".join(["Failures:", "", *lines]))
    if facts.command:
        command = clipped(facts.command, MAX_COMMAND)
        fence = "`" * max(3, 1 + _longest_ticks(command))
        parts.append(f"{fence}bash\n{command}\n{fence}")
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    """Return a code span. Its marks are longer than those in the text, and bars are escaped for table cells."""
    text = clipped(text, MAX_REASON).replace("|", "\\|")
    ticks = "`" * (1 + _longest_ticks(text))
    pad = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)
