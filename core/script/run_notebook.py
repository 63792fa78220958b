"""Run a notebook from the first cell to the last, printing the output of cells as it comes.

    python -m studio.script.run_notebook PYTHON NOTEBOOK EXECUTED

The kernel is PYTHON, whatever kernel the notebook names. EXECUTED is always written, with the outputs so far.
"""

import os
import sys
import tempfile
import warnings
from typing import Any, TextIO


def main(python: str, notebook: str, executed: str) -> int:
    import nbformat
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    class Kernel(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, display_name="Python", language="python")

    class Client(NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            _show(msg)
            return super().process_message(msg, cell, cell_index)

    with warnings.catch_warnings(action="ignore"):  # about cells without ids, as in older notebooks
        nb = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("IPYTHONDIR", folder)
        os.environ["JUPYTER_RUNTIME_DIR"] = folder
        # sockets in a folder of this user only; TCP would be open to others on this machine
        kernel = Kernel(
            connection_file=os.path.join(folder, "kernel.json"), transport="ipc", ip=os.path.join(folder, "k")
        )
        client = Client(nb, km=kernel, timeout=None, resources={"metadata": {"path": os.getcwd()}})
        try:
            client.execute()
        except CellExecutionError as error:
            _write(sys.stderr, f"{error.ename}: {error.evalue}\n")
            return 1
        except DeadKernelError:
            _write(sys.stderr, "the kernel died\n")
            return 1
        finally:
            with warnings.catch_warnings(action="ignore"):
                nbformat.write(nb, executed)
    return 0


def _show(message: Any) -> None:
    """Print a cell's output, as the equivalent script would have."""
    kind, content = message["msg_type"], message["content"]
    if kind == "stream":
        _write(sys.stderr if content["name"] == "stderr" else sys.stdout, content["text"])
    elif kind in ("display_data", "execute_result"):
        text = content["data"].get("text/plain")
        if text is not None:
            _write(sys.stdout, f"{text}\n")
    elif kind == "error":
        _write(sys.stderr, "\n".join(content["traceback"]) + "\n")


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
