"""`studio resume PROJECT`."""

from typing import Annotated

import typer

from studio.cli import cloud_options
from studio.cli.usage import PlainUsage, say, whole
from studio.errors import BadInput

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=PlainUsage)
def resume(
    project: Annotated[str, typer.Argument(metavar="PROJECT")],
    max_experiments: Annotated[
        int | None, typer.Option(metavar="N", parser=whole, help="A new budget: how many experiments in all.")
    ] = None,
    max_time: Annotated[str | None, typer.Option(metavar="TIME", help="For this session: 90s, 15m, 5h, 2d.")] = None,
    num_workers: Annotated[str | None, typer.Option(metavar="N|auto", help="How many experiments at a time.")] = None,
    retry_failed: Annotated[
        list[str] | None, typer.Option(metavar="N|CLASS=N", help="As for `studio run`, from now on.")
    ] = None,
    on_failure: Annotated[
        list[str] | None, typer.Option(metavar="continue|stop", help="As for `studio run`, from now on.")
    ] = None,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="Take your files as they are now; and where the optimizer now asks for something else, a fresh one.",
        ),
    ] = False,
    keep_source: Annotated[
        bool, typer.Option("--keep-source", help="Go on with the files as they were when the search began.")
    ] = False,
    backend: Annotated[
        str | None, typer.Option(metavar="NAME[:URL]", help="Go on elsewhere: local, or folder:/shared/dir.")
    ] = None,
    cloud: cloud_options.Cloud = None,
    bucket: cloud_options.Bucket = None,
    gpu_type: cloud_options.GpuType = None,
    machine_type: cloud_options.MachineType = None,
    image: cloud_options.Image = None,
    per_machine: cloud_options.PerMachine = None,
    cloud_timeout: cloud_options.CloudTimeout = None,
    cloud_lifetime: cloud_options.CloudLifetime = None,
    max_cost: cloud_options.MaxCost = None,
    price: cloud_options.Price = None,
    bid: cloud_options.Bid = None,
    yes: cloud_options.Yes = False,
    ssh_keypair: cloud_options.SshKeypair = None,
    port: cloud_options.Port = None,
    user_startup_script: cloud_options.UserStartupScript = None,
    python_pkg: cloud_options.PythonPkg = None,
    json: Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line per experiment, even on a terminal.")] = False,
) -> int:
    """Go on with PROJECT where it stopped: same seed, same suggestions, nothing done twice. It ends a pause, too."""
    from studio.cli.display import make_observer
    from studio.cli.result import carried_out
    from studio.host import create_host
    from studio.project.project import Project
    from studio.search import run as launch
    from studio.search import steering

    if Project(project).state == "paused":
        if (max_experiments, max_time, num_workers) != (None, None, None):
            raise BadInput(
                f"project {project!r} is paused; end that with studio resume {project}, and add to its budget with studio add"
            )
        say(steering.go(project).words)
        return 0

    host, of_cloud = create_host(), cloud_options.among(locals())
    where, backend_options = cloud_options.place(host, backend, cloud, num_workers, of_cloud)
    return carried_out(
        lambda: launch.resume(
            project,
            max_experiments=max_experiments,
            max_time=max_time,
            num_workers=num_workers,
            retry_failed=retry_failed,
            on_failure=on_failure,
            accept_changes=accept_changes,
            keep_source=keep_source,
            backend=where,
            backend_options=backend_options,
            yes=cloud_options.consent(yes),
            host=host,
            observer=make_observer(quiet=quiet or json, verbose=verbose),
        ),
        as_json=json,
        quiet=quiet,
    )
