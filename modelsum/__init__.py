"""What a PyTorch model costs before anyone runs it: parameters, multiply-accumulates, memory.

    >>> import modelsum
    >>> modelsum.summarize("resnet50", input_size=(3, 224, 224)).totals.params
    25557032

Importing this package imports next to nothing: what a name stands for is imported when it is first used,
and torch when a model is summarised.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modelsum import printing
from modelsum.version import __version__

if TYPE_CHECKING:
    from modelsum.api import register_macs, summarize
    from modelsum.assertions import assert_cost
    from modelsum.checking import check
    from modelsum.comparing import compare, diff
    from modelsum.errors import (
        ArgumentError,
        BuildError,
        ConfigError,
        ForwardError,
        InputError,
        ModelError,
        ModelsumError,
        OutputError,
        UnknownModelError,
        UsageError,
    )
    from modelsum.fitting import fit
    from modelsum.generating import generate
    from modelsum.measuring import measure
    from modelsum.summary import (
        Baseline,
        Difference,
        Input,
        Layer,
        Model,
        Summary,
        TorchsummaryTotals,
        Totals,
    )
    from modelsum.sweeping import sweep

__all__ = [
    "ArgumentError",
    "Baseline",
    "BuildError",
    "ConfigError",
    "Difference",
    "ForwardError",
    "Input",
    "InputError",
    "Layer",
    "Model",
    "ModelError",
    "ModelsumError",
    "OutputError",
    "Summary",
    "TorchsummaryTotals",
    "Totals",
    "UnknownModelError",
    "UsageError",
    "__version__",
    "assert_cost",
    "check",
    "compare",
    "diff",
    "fit",
    "generate",
    "measure",
    "register_macs",
    "summarize",
    "sweep",
]

printing.register("modelsum.render")

_HOMES = {
    "assert_cost": "assertions",
    "check": "checking",
    "compare": "comparing",
    "diff": "comparing",
    "fit": "fitting",
    "generate": "generating",
    "measure": "measuring",
    "register_macs": "api",
    "summarize": "api",
    "sweep": "sweeping",
    **dict.fromkeys(
        ("Baseline", "Difference", "Input", "Layer", "Model", "Summary", "TorchsummaryTotals", "Totals"),
        "summary",
    ),
    **dict.fromkeys((name for name in __all__ if name.endswith("Error")), "errors"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
