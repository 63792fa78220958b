"""Options of `run` and `resume` that are about machines of a cloud."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from studio.cli.usage import whole
from studio.errors import BadInput

NAMES = {  # of the options that a backend takes
    *("bucket", "gpu_type", "machine_type", "image", "per_machine", "cloud_timeout", "cloud_lifetime", "max_cost"),
    *("price", "bid", "ssh_keypair", "port", "user_startup_script", "python_pkg"),
}


def _option(*names: str, metavar: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, **more)


Cloud = Annotated[
    list[str] | None,  # to hear of a second one
    _option(
        "--cloud", metavar="NAME", help="Machines of a cloud: ec2, ec2spot, gcloud (or gce), gcspot, or a plugin's."
    ),
]
Bucket = Annotated[
    str | None,
    _option(
        "--bucket",
        "--cloud-bucket",
        metavar="URL",
        help="Such as s3://NAME or gs://NAME; `studio cloud setup` makes one.",
    ),
]
GpuType = Annotated[str | None, _option("--gpu-type", metavar="NAME", help="Such as t4, l4, a100.")]
MachineType = Annotated[
    str | None, _option("--machine-type", metavar="NAME", help="Default: the cheapest with --cpus --gpus --ram.")
]
Image = Annotated[str | None, _option("--image", metavar="NAME", help="Of the disk. Default: Ubuntu 24.04.")]
PerMachine = Annotated[
    int | None, _option("--per-machine", metavar="N", parser=whole, help="Experiments at a time on one machine.")
]
CloudTimeout = Annotated[
    str | None, _option("--cloud-timeout", metavar="TIME", help="A machine ends after that long without work: 5m.")
]
CloudLifetime = Annotated[
    str | None,
    _option(
        "--cloud-lifetime",
        metavar="TIME",
        help="A machine ends after that long in any case. Default: --max-time, or 24h.",
    ),
]
MaxCost = Annotated[
    str | None, _option("--max-cost", metavar="DOLLARS", help="The search ends before its machines cost more.")
]
Price = Annotated[
    str | None, _option("--price", metavar="DOLLARS", help="Of a machine and hour, where the cloud does not say.")
]
Bid = Annotated[
    str | None,
    _option(
        "--bid", metavar="DOLLARS|N%", help="The most to pay for a spot machine and hour, where the cloud takes bids."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to what it can cost.")]
SshKeypair = Annotated[
    str | None, _option("--ssh-keypair", metavar="NAME", help="Open port 22, for that key pair (GCE: USER:FILE.pub).")
]
Port = Annotated[int | None, _option("--port", metavar="N", parser=whole, help="Open a port of each machine.")]
UserStartupScript = Annotated[
    str | None, _option("--user-startup-script", metavar="FILE", help="Runs first on each machine, as root.")
]
PythonPkg = Annotated[
    list[str] | None, _option("--python-pkg", metavar="PACKAGE", help="Installed on each machine. Repeatable.")
]


def among(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options of a command that a backend takes."""
    return {name: value for name, value in typed.items() if name in NAMES}


def place(
    host: Any,
    backend: str | None,
    cloud: list[str] | None,
    num_workers: str | None,
    options: Mapping[str, Any],
    default: str | None = None,
) -> tuple[str | None, dict[str, Any]]:
    """The backend, and its options: those in `options` that were given. Without a `default` None says: as it was."""
    from studio.search.billing import cloud_names

    given = {name: value for name, value in options.items() if value not in (None, [])}
    names = cloud_names(host)
    if cloud:
        if len(cloud) > 1:
            raise BadInput(f"--cloud {cloud[0]} --cloud {cloud[1]}: a search runs in one cloud; give --cloud once")
        if backend is not None:
            raise BadInput(
                f"--cloud {cloud[0]} and --backend {backend}: both say where experiments run; give one of them"
            )
        if cloud[0] not in names:
            left_out = "".join(f" ({problem})" for problem in host.problems)
            raise BadInput(f"--cloud {cloud[0]} is none of {', '.join(names)}{left_out}")
        backend = cloud[0]
    backend = backend or default
    if backend in names and num_workers == "auto":
        raise BadInput("--num-workers auto counts the CPUs of this machine: say how many experiments run at a time")
    if given and backend is not None and backend not in names:
        option = next(iter(given)).replace("_", "-")
        raise BadInput(f"--{option} is about machines of a cloud: give --cloud too ({', '.join(names)})")
    return backend, given


def ask(text: str) -> bool:
    """On a terminal: show it, and hear whether to go on."""
    typer.echo(text, err=True)
    return typer.confirm("Go on?", err=True)


def consent(yes: bool) -> Any:
    """`ask`, where somebody would hear it."""
    return ask if not yes and sys.stdin.isatty() and sys.stderr.isatty() else yes
