"""The command `studio report PROJECT`: one page about a search, for example for a pull request."""

from typing import Annotated

import typer

from studio.cli import names
from studio.cli.usage import PlainUsage, new_app
from studio.project.project import Project

app = new_app()


@app.command(cls=PlainUsage)
def report(
    project: names.Named = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Default: PROJECT.html, for Markdown stdout. `-` is stdout too."
        ),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="html|md", help="Default: by the suffix of FILE, else html.")
    ] = None,
) -> int:
    """Write a report about PROJECT: a self-contained HTML file, or Markdown for a pull request."""
    from studio.cli.console import check_format, save
    from studio.host import create_host
    from studio.reporting.axes import axes_of
    from studio.reporting.facts import facts_of
    from studio.reporting.report import MAX_BEST_ROWS, html_report, markdown_report

    format_by_suffix = "md" if (output or "").endswith((".md", ".markdown")) else "html"
    format_ = check_format(format_ or format_by_suffix, ("html", "md"))
    record = Project(names.project_of(project))
    experiments = record.experiments
    host = create_host()
    facts = facts_of(record, experiments, axes_of(record.settings, experiments, host), MAX_BEST_ROWS, host)
    text = markdown_report(facts) if format_ == "md" else html_report(facts)
    save([text], output, f"{record.name}.html" if format_ == "html" else None)
    return 0
