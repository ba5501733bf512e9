"""Asking the torch that is here what it has: a test of what it lacks is skipped, whatever its version."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modelsum.trace import torch_private

#: What the CPU can do, "avx512_bf16" for one; empty where nobody says.
CPU_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def skip_unless_torch_runs(function: Any, *args: Any, device: str = "cpu") -> None:
    """Skip where torch alone, without modelsum, has no such op or no kernel for that device."""
    with torch.no_grad():
        try:
            moved = [a.to(device) if isinstance(a, torch.Tensor) else a for a in args]
            (function.to(device) if isinstance(function, nn.Module) and device != "cpu" else function)(*moved)
        except (AttributeError, NotImplementedError) as error:
            pytest.skip(f"torch {torch.__version__}: {str(error).splitlines()[0]}")
        except RuntimeError as error:  # of oneDNN, for a dtype that this CPU has no instructions for
            if "could not create a primitive" in str(error):
                pytest.skip(f"torch {torch.__version__}, on this CPU: {error}")
            raise


def skip_unless_group_norm_takes_any_layout() -> None:
    """Skip where torch's CPU kernel wants images in one piece, which layers see to before they call it."""
    x = torch.rand(2, 6, 4, 5).transpose(2, 3)
    try:
        torch.native_group_norm(x, None, None, 2, 6, 20, 3, 1e-5)
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__}: {str(error).splitlines()[0]}")


@cache
def makes_zeros_without_sympy() -> bool:
    """Whether torch's own `zeros` on meta does without sympy, as it does since 2.7 or so."""
    program = "import sys, torch; torch.zeros(1, device='meta'); print('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "False"


def skip_unless_zeros_do_without_sympy() -> None:
    """Skip where no model that makes zeros could be built without sympy."""
    if not makes_zeros_without_sympy():
        pytest.skip(f"torch {torch.__version__} imports sympy for zeros on meta")


def skip_unless_meshes_are_followed() -> None:
    """Skip where the memory of ranks is refused."""
    if not torch_private.follows_meshes():
        pytest.skip("this torch lacks what memory of ranks stands on")
