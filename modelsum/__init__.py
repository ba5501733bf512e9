"""What a PyTorch model costs before anyone runs it: parameters, multiply-accumulates, memory.

    >>> import modelsum
    >>> modelsum.summarize("resnet50", input_size=(3, 224, 224)).totals.params
    25557032

Importing this package does not import torch; summarising does.
"""

from modelsum.api import register_macs, summarize
from modelsum.assertions import assert_cost
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
from modelsum.measuring import measure
from modelsum.summary import Baseline, Difference, Input, Layer, Model, Summary, TorchsummaryTotals, Totals
from modelsum.version import __version__

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
    "fit",
    "measure",
    "register_macs",
    "summarize",
]
