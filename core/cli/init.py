"""The command `studio init SCRIPT [ARGS]…`: write the search that `studio inspect` proposes into `studio.toml`."""

from typing import Annotated

import typer

from studio.cli.options import SCRIPT_CONTEXT, Arguments, IsModule, RunOnce, Script
from studio.cli.usage import COMMAND, PlainUsage, new_app

app = new_app()


@app.command(cls=PlainUsage, context_settings=SCRIPT_CONTEXT)
def init(
    ctx: typer.Context,
    script: Script,
    arguments: Arguments = None,
    module: IsModule = False,
    run: RunOnce = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing studio.toml.")] = False,
) -> int:
    """Write studio.toml: hyperparameters with ranges and the metric of SCRIPT. Then run `studio run`."""
    from pathlib import Path

    from studio.cli.config import FILE, config_text
    from studio.cli.console import save
    from studio.errors import BadInput
    from studio.host import create_host
    from studio.search.inspection import inspect_script

    if Path(FILE).exists() and not force:
        raise BadInput(f"{FILE} exists already; replace it with studio init --force {script}, or edit it")
    is_command = bool(ctx.meta.get(COMMAND))
    seen = inspect_script(script, arguments or [], create_host(), module=module, is_command=is_command, run=run)
    given = dict(seen.options)
    if module:
        given["module"] = True
    text = config_text(script, arguments or [], given)
    save([text], FILE, None)
    print(text, end="")
    if "hyperparams" not in given:
        print('# no hyperparameter was found: add lines such as lr = "1e-5:0.1:l" under [hyperparams]')
    if not seen.is_sure:
        metrics = " or ".join(f'metric = "{one.name}:{one.mode or "max"}"' for one in seen.metrics[:3])
        metrics += " (:min if the smaller is better)" if any(not one.mode for one in seen.metrics[:3]) else ""
        asked = f"add the one to search by: {metrics}" if metrics else 'add it: metric = "NAME:max", or NAME:min'
        print(
            f"# which metric is the result is not sure; {asked}; studio inspect --run {script} runs the script to see"
        )
    print("\nstudio run --dry-run\nstudio run")
    return 0
