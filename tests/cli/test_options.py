"""The options of `studio run` and `studio resume` are those of the schema and of the backends."""

from dataclasses import MISSING, dataclass
from typing import Annotated

import pytest
import typer

from studio.backends.cloud.machines_backend import MachinesBackend
from studio.cli import options
from studio.cli.usage import COMMAND, PlainUsage
from studio.errors import BadInput
from studio.host import backend_fields, create_host
from studio.interfaces import Backend
from studio.options import option
from studio.search.plan.plan import resolve_backend
from studio.settings import OPTIONS, RESUME_OPTIONS, command_line, make_settings
from studio.testing.fakes import fake_backend

TYPED = {  # what may stand behind each option, by what it takes
    "--hyperparam": ["lr=0.1:0.2", "name=adam,sgd"],
    "--optimizer": ["cma"],
    "-O": ["popsize=8", "x=a=b"],
    "--metric": ["val_loss:min"],
    "--direction": ["max"],
    "--env": ["HOME"],
    "--keep": ["best"],
    "--num-workers": ["4"],
    "--max-time": ["1h30m"],
    "--max-duration": ["0.25s"],
    "--retry-failed": ["2,memory=0"],
    "--on-failure": ["crash=stop", "lost=stop"],
    "--max-workspace": ["2GB"],
    "--max-log": ["1500"],
}


Script = Annotated[str, typer.Argument(metavar="SCRIPT")]
Arguments = Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...")]


class Cluster(fake_backend(lambda run: 1.0)):
    """A third party's, with options of its own."""

    name = "cluster"

    @dataclass(frozen=True)
    class Options(Backend.Options):
        partition: str | None = option(None, "NAME", "Where jobs are queued.")
        nodes: int = option(1, "N", "How many.")
        modules: list[str] = option([], "NAME", "Loaded first. Repeatable.")
        exclusive: bool = option(False, "", "Share no node.")


@pytest.fixture
def host():
    return create_host(plugins=[Cluster.plugin()])


@pytest.fixture
def parse(host):
    """`parse("--cpus=2", "train.py")`: what the command would hand to `studio.run`."""

    def call(*words):
        heard = []

        def run(
            ctx: typer.Context, script: Script, arguments: Arguments = None, *, search_options, flag_values, host
        ) -> None:
            extra = {"backend_options": options.backend_options(host, search_options.get("backend"), flag_values)}
            heard.append((script, arguments or [], search_options | extra, ctx.meta[COMMAND]))

        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(cls=PlainUsage, context_settings={"allow_interspersed_args": False})(
            options.with_options(run, OPTIONS, host)
        )
        typer.main.get_command(app)(list(words), standalone_mode=False)
        return heard[0]

    return call


def words(field):
    texts = TYPED.get(field.flag) or (["x:y"] if field.is_repeatable else ["7"])
    return [field.flag] if field.is_switch else [f"{field.flag}={text}" for text in texts]


@pytest.mark.parametrize("field", [f for f in OPTIONS.values() if f.name != "backend"], ids=lambda field: field.flag)
def test_the_command_that_repeats_a_search_gives_the_same_settings(field, parse):
    typed = words(field) if field.flag.startswith("--") else [w.replace("-O=", "-O") for w in words(field)]
    script, arguments, given, _ = parse(*typed, "train.py", "30", "--verbose")
    settings = make_settings(script, arguments, **given)
    assert settings.arguments == ["30", "--verbose"]
    program, command, *again = command_line(settings)
    assert (program, command) == ("studio", "run")
    assert again != ["train.py", "30", "--verbose"], "nothing of it is written back"
    script, arguments, given, _ = parse(*again)
    assert make_settings(script, arguments, **given) == settings


@pytest.mark.parametrize("name", ["cluster", "folder", "ec2", "gcspot"])
def test_so_do_the_options_of_every_backend(name, parse, host):
    fields = backend_fields(host.backend(name))
    script, arguments, given, _ = parse(
        f"--backend={name}", *(word for field in fields.values() for word in words(field)), "train.py"
    )
    settings, _ = resolve_backend(make_settings(script, arguments, **given), host)
    assert set(settings.backend_options) == set(fields)
    script, arguments, given, _ = parse(*command_line(settings, fields)[2:])
    assert resolve_backend(make_settings(script, arguments, **given), host)[0] == settings


def test_an_option_of_another_backend_is_refused_with_those_that_take_it(parse):
    with pytest.raises(
        BadInput, match="--cluster-nodes is an option of cluster, and the backend is local; add --cloud or --backend"
    ):
        parse("--cluster-nodes=2", "train.py")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--backend=cluster:here"], "--backend cluster:here: cluster takes nothing after its name"),
        (["--backend=folder"], "backend folder needs URL: write --backend=folder:URL"),
        (["--backend=cluster", "--cluster-nodes=two"], "--cluster-nodes 'two' is not a whole number"),
        (["--backend=local", "--cloud=ec2"], "local and ec2: a search runs in one place"),
        (["--backend=:x"], "--backend ':x' names no backend"),
        (["--backend=cluser"], "did you mean 'cluster'?"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(given, message, host, command, script, monkeypatch):
    monkeypatch.setattr("studio.cli.run.create_host", lambda: host)
    script("train.py", "lr = 1\nprint(lr)\n")
    done = command("run", *given, "--hp=lr=1", "train.py")
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize(
    ("typed", "script", "arguments", "is_command"),
    [
        (["train.py", "--seed", "3"], "train.py", ["--seed", "3"], False),
        (["--seed=1", "--", "torchrun", "--nproc", "2"], "torchrun", ["--nproc", "2"], True),
        (["--", "train.py"], "train.py", [], True),
        (["train.py", "--", "x"], "train.py", ["--", "x"], False),
    ],
)
def test_two_dashes_end_the_options(typed, script, arguments, is_command, parse):
    heard = parse(*typed)
    assert (heard[0], heard[1], heard[3]) == (script, arguments, is_command)


def test_help_has_groups_and_the_clouds_options_apart(command):
    text, clouds = command("run", "--help").out, command("run", "--help-cloud").out
    order = [
        text.index(f"\n{group}:\n") for group in ("Search", "Metric", "Script", "Where it runs", "Limits", "Output")
    ]
    assert order == sorted(order)
    assert "--max-cost" in clouds
    assert "--max-cost" not in text
    assert "--metric" not in clouds.split("Examples:")[0]


@pytest.mark.parametrize("name", ["run", "resume", "runs", "rm", "cloud", "plugins"])
def test_completion_is_installed_at_the_top_alone(name, command):
    assert "--install-completion" not in command(name, "--help").out
    assert "--install-completion" in command("--help").out


def test_what_is_required_of_a_backend_has_no_default():
    assert backend_fields(create_host().backend("folder"))["url"].default is MISSING
    assert MachinesBackend.Options.prefix == ""
    assert all(field.flag.startswith("--") for field in RESUME_OPTIONS.values())


def test_an_option_that_is_given_twice_is_named(command, script):
    script("train.py", "lr = 0\nprint('fitness:', lr)\n")
    result = command("run", "--dry-run", "--max-experiments=1", "--max-experiments=2", "--hp=lr=1,2", "train.py")
    assert result.code == 0
    assert "studio: --max-experiments is given twice; the last one counts: 2" in result.err
