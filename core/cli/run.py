"""`studio run [OPTIONS] SCRIPT [ARGS]…`: everything after the script belongs to the script."""

import shlex
import sys
from typing import Annotated

import typer

from studio.cli import cloud_options
from studio.cli.usage import PlainUsage, whole

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

SLOW_IMPORT = 1.0  # seconds, from which --verbose names a plugin
# Found behind the script, they draw a hint. Scripts often have options such as --seed of their own.
OURS = (
    "--hyperparam",
    "--hp",
    "-hp",
    "--optimizer",
    "--opt",
    "-opt",
    "--metric",
    "--num-workers",
    "--max-experiments",
    "--dry-run",
)

AS_TYPED = (  # arguments of `studio.run` of the same name
    *("optimizer", "metric", "direction", "project", "num_workers", "max_experiments", "max_time", "max_duration"),
    *("repeat", "retry_failed", "on_failure", "module", "seed", "cpus", "gpus", "ram", "hdd", "python", "keep"),
    *("capture", "capture_once", "reuse", "substitute"),
)

EXAMPLES = """\b
Examples:
  studio run --hp=lr=0.01:0.01:0.1 train.py 30                     a grid of ten; 30 goes to the script
  studio run --hp=lr=1e-5:l5:0.1 --hp=units=32,64 train.py         5 x 2 experiments
  studio run --opt=cma --hp=lr=1e-5:0.1:l --num-workers=4 train.py CMA-ES on a log scale, four at a time
  studio run --metric=val_loss:min --hp=lr=1e-4:l4:0.1 train.py    the smallest val_loss in its TensorBoard logs
  studio run --dry-run --hp=lr=1,2 train.py                        show what would be done

\b
Ranges for grid: first:last, first:step:last, first:count:last, first:l5:last (log), a,b,c
Ranges for optimizers: min:max[:length][:flags], flags l (log) i (whole numbers) u (unconstrained) r (random start) a (array)
"""


@app.command(
    cls=PlainUsage, context_settings={"allow_interspersed_args": False, "max_content_width": 110}, epilog=EXAMPLES
)
def run(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="The script, as it is. Its arguments follow.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]...", help="Arguments of the script; {lr} becomes the value of lr."),
    ] = None,
    hyperparam: Annotated[
        list[str] | None,
        typer.Option(
            "--hyperparam", "--hp", "-hp", metavar="NAME=RANGE", help="A hyperparameter and its range. Repeatable."
        ),
    ] = None,
    optimizer: Annotated[
        str,
        typer.Option(
            "--optimizer",
            "--opt",
            "-opt",
            metavar="NAME|FILE",
            help="grid, random, cma, a plugin, or a file with an optimizer.",
        ),
    ] = "grid",
    option: Annotated[
        list[str] | None, typer.Option("-O", metavar="KEY=VALUE", help="An option of the optimizer. Repeatable.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:min|:max]",
            help="A TensorBoard scalar, or jsonl:FILE:KEY. Without it, `fitness: NUMBER` on stdout.",
        ),
    ] = None,
    direction: Annotated[
        str | None, typer.Option(metavar="min|max", help="Which way is better, over what --metric says.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: the script's name and the time.")
    ] = None,
    num_workers: Annotated[str, typer.Option(metavar="N|auto", help="How many experiments at a time.")] = "1",
    max_experiments: Annotated[
        int | None, typer.Option(metavar="N", parser=whole, help="How many experiments in all.")
    ] = None,
    max_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="For the whole search: 90s, 15m, 5h, 2d.")
    ] = None,
    max_duration: Annotated[str | None, typer.Option(metavar="TIME", help="For one experiment.")] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Run values again that were seen before.")] = False,
    retry_failed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|CLASS=N", help="Try failed ones again: 2, or memory=1,timeout=0. Lost workers are by themselves."
        ),
    ] = None,
    on_failure: Annotated[
        list[str] | None, typer.Option(metavar="continue|stop", help="Also for one class: crash=stop.")
    ] = None,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is a module name.")] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", parser=whole, help="Makes the whole search repeat.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(metavar="NAME[:URL]", help="Where experiments run: local (the default), or folder:/shared/dir."),
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
    cpus: Annotated[int | None, typer.Option(metavar="N", parser=whole, help="CPUs per experiment.")] = None,
    gpus: Annotated[int, typer.Option(metavar="N", parser=whole, help="GPUs per experiment.")] = 0,
    ram: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory per experiment, for backends that choose machines.")
    ] = None,
    hdd: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Disk per experiment, for backends that choose machines.")
    ] = None,
    capture: Annotated[
        list[str] | None, typer.Option(metavar="PATH:TAG", help="Keep PATH of each experiment as artifact TAG.")
    ] = None,
    capture_once: Annotated[
        list[str] | None, typer.Option(metavar="PATH:TAG", help="Share one copy of PATH among all experiments.")
    ] = None,
    reuse: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPERIMENT/ARTIFACT:TAG", help="Take an artifact of another experiment."),
    ] = None,
    python: Annotated[str | None, typer.Option(metavar="PATH", help="The script's interpreter.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An environment variable of the script.")
    ] = None,
    substitute: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Write values into this file, too.")
    ] = None,
    keep: Annotated[str, typer.Option(metavar="all|best|none", help="Which workspaces stay.")] = "all",
    max_workspace: Annotated[str, typer.Option(metavar="SIZE", help="How large the working directory may be.")] = "1GB",
    max_log: Annotated[
        str, typer.Option(metavar="SIZE", help="How much of each log is kept: head and tail.")
    ] = "100MB",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and the changes to the script; start nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the experiments as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", help="A line per experiment, even on a terminal, and plugins that are slow to import."
        ),
    ] = False,
) -> int:
    """Search hyperparameters of SCRIPT: copy the working directory per experiment, write the values in, run it, read its metric."""
    from studio.cli.display import make_observer
    from studio.cli.result import carried_out
    from studio.host import create_host
    from studio.options import parse_bytes, split_pairs
    from studio.search import run as launch
    from studio.search.ranges import split_hyperparams

    typed = dict(locals())
    host = create_host()
    where, backend_options = cloud_options.place(host, backend, cloud, num_workers, cloud_options.among(typed), "local")
    given = {name: typed[name] for name in AS_TYPED} | {
        "hyperparams": split_hyperparams(hyperparam or ()),
        "options": split_pairs(option or ()),
        "env": split_pairs(env or (), "--env"),
        "max_workspace": parse_bytes(max_workspace, "--max-workspace"),
        "max_log": parse_bytes(max_log, "--max-log"),
        "backend": where,
        "backend_options": backend_options,
    }
    _hint_at_misplaced(arguments or [])
    if dry_run:
        from studio.cli.dry_run import show

        return show(script, arguments or [], given, host, as_json=json)
    observer = make_observer(quiet=quiet or json, verbose=verbose)
    for name, seconds in host.import_seconds.items():
        if verbose and seconds > SLOW_IMPORT:
            observer.notice(f"importing the plugin {name} took {seconds:.1f} s")
    return carried_out(
        lambda: launch.run(
            script, arguments or [], **given, yes=cloud_options.consent(yes), host=host, observer=observer
        ),
        as_json=json,
        quiet=quiet,
    )


def _hint_at_misplaced(arguments: list[str]) -> None:
    found = [argument for argument in arguments if argument.split("=")[0] in OURS]
    if found:
        where = "stands behind the script and goes to the script; put it before the script if it is meant for Studio"
        print(f"studio: {shlex.join(found)} {where}", file=sys.stderr)
