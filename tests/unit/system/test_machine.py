"""GPUs of this machine that a search may use."""

import pytest

from studio.system.machine import visible_gpus


@pytest.mark.parametrize(
    ("given", "gpus"),
    [
        ("0,1", ["0", "1"]),
        (" 2, 3,", ["2", "3"]),
        ("GPU-8f2c,MIG-GPU-8f2c/1/0", ["GPU-8f2c", "MIG-GPU-8f2c/1/0"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("NoDevFiles", []),
    ],
)
def test_gpus_are_those_that_cuda_sees(given: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == gpus
