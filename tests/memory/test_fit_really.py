"""`fit` against real training on the CPU, in processes whose address space is limited (fit_worker.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fit_worker
import pytest

import modelsum

MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")


def largest(model: str, optimizer: str, room: int) -> int:
    """The batch that `fit` names."""
    net, sample = fit_worker.build(model)
    found = modelsum.fit(
        net, memory=room, target="cpu", optimizer=optimizer, input_size=sample, more=False
    ).batch
    assert found is not None
    return found


def trains(model: str, optimizer: str, batch: int, room: int) -> bool:
    """Whether two steps can be done with so many bytes."""
    done = subprocess.run(
        [sys.executable, fit_worker.__file__, model, optimizer, str(batch), str(room)],
        env={**os.environ, **fit_worker.MALLOC, "OMP_NUM_THREADS": "1"},
        cwd=Path(fit_worker.__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, fit_worker.OUT_OF_MEMORY), done.stderr
    return done.returncode == 0


@pytest.mark.slow  # processes that train until their memory is full
def test_the_batch_that_fit_names_trains_and_ten_percent_more_does_not() -> None:
    room = 160 * MIB
    batch = largest("network", "momentum", room)
    more = largest("network", "momentum", room + room // 10)
    assert 1 < batch < more
    assert trains("network", "momentum", batch, room)
    assert not trains("network", "momentum", more, room)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
@pytest.mark.parametrize("model", ["network", "resnet18", "mobilenet_v2", "vit_b_16"])
def test_of_real_models_too(model: str, optimizer: str) -> None:
    """The batch with the memory that there is, with 10 % less, and the batch for 10 % more."""
    room = (2048 if model == "vit_b_16" else 600) * MIB
    batch = largest(model, optimizer, room)
    assert trains(model, optimizer, batch, room)
    assert not trains(model, optimizer, batch, room - room // 10)
    assert not trains(model, optimizer, largest(model, optimizer, room + room // 10), room)
