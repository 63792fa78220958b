"""The command `studio report PROJECT`: one page about a search, to keep or to send."""

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
        typer.Option("--output", "-o", metavar="FILE", help="Default: PROJECT.html; for Markdown stdout, also -."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="html|md", help="Default: by the suffix of FILE, else html.")
    ] = None,
) -> int:
    """Write a report about PROJECT: a self-contained HTML file, or Markdown for a pull request."""
    from studio.cli.console import chosen_format, save
    from studio.host import create_host
    from studio.reporting.axes import axes_of
    from studio.reporting.facts import facts_of
    from studio.reporting.report import BEST, html_report, markdown_report

    by_name = "md" if (output or "").endswith((".md", ".markdown")) else "html"
    kind = chosen_format(format_ or by_name, ("html", "md"))
    found = Project(names.project_of(project))
    experiments = found.experiments
    host = create_host()
    facts = facts_of(found, experiments, axes_of(found.settings, experiments, host), BEST, host)
    text = markdown_report(facts) if kind == "md" else html_report(facts)
    save([text], output, f"{found.name}.html" if kind == "html" else None)
    return 0
