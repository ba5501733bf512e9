"""The other tools, and modelsum, each by its documented call: (model, args, kwargs) -> figures.

pip install torchinfo torchsummary fvcore ptflops thop
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a process that starts others, and takes their memory, has to be small
    from torch import nn


@dataclass(frozen=True)
class Figures:
    """What a tool says: elements of parameters, multiply-accumulates of the whole batch (None: no answer)."""

    params: int
    macs: float | None


class NotForIt(Exception):
    """The tool has no way to say this call."""


class ReportedError(Exception):
    """The tool printed an error in place of raising one; the message is its text."""


def with_modelsum(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    import modelsum

    try:
        totals = modelsum.summarize(model, *args, kwargs=kwargs).totals
    except modelsum.ForwardError as error:  # it brings what is known all the same
        return Figures(error.summary.totals.params, None)
    return Figures(totals.params, totals.macs)


def with_torchinfo(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    from torchinfo import summary

    if args:
        result = summary(model, input_data=list(args), mode="eval", verbose=0, **kwargs)
    else:
        result = summary(model, input_data=kwargs, mode="eval", verbose=0)
    return Figures(result.total_params, result.total_mult_adds)


def with_fvcore(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    analysis = FlopCountAnalysis(model, by_position(model, args, kwargs))
    macs = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
    return Figures(parameter_count(model)[""], macs)


def with_ptflops_aten(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    return with_ptflops("aten", model, args, kwargs)


def with_ptflops_pytorch(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    if type(model).__module__.startswith("transformers"):
        raise NotForIt("its README advises against this backend for transformers")
    figures = with_ptflops("pytorch", model, args, kwargs)
    if figures.macs is None or not is_one_tensor(args, kwargs):
        return figures
    return replace(figures, macs=figures.macs * len(args[0]))  # it answers for one sample of the batch


def with_ptflops(backend: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    from ptflops import get_model_complexity_info

    def inputs(_: tuple[int, ...]) -> Any:
        if is_one_tensor(args, kwargs):
            return args[0]
        return inspect.signature(model.forward).bind(*args, **kwargs).arguments

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        macs, params = get_model_complexity_info(
            model,
            (1,),
            as_strings=False,
            print_per_layer_stat=False,
            backend=backend,
            input_constructor=inputs,
        )
    if macs is None:
        _, _, error = printed.getvalue().partition("exception: \n")
        raise ReportedError(re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", error).split("\n")[0])
    return Figures(params, macs)


def with_thop(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    from thop import profile

    macs, params = profile(model, inputs=by_position(model, args, kwargs), verbose=False)
    return Figures(int(params), macs)


def with_torchsummary(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    import torch
    from torchsummary import summary

    args = by_position(model, args, kwargs)
    if not all(isinstance(x, torch.Tensor) and x.dtype == torch.float32 for x in args):
        raise NotForIt("it makes float32 tensors itself and takes no others")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        summary(model, [tuple(x.shape[1:]) for x in args], device="cpu")
    found = re.search(r"Total params: ([\d,]+)", printed.getvalue())
    assert found, "it printed no total"
    return Figures(int(found[1].replace(",", "")), None)


def is_one_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    import torch

    return len(args) == 1 and isinstance(args[0], torch.Tensor) and not kwargs


def by_position(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The call without keywords: the defaults stand in for the parameters between those that are given."""
    if not kwargs:
        return args
    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    last_given = list(bound.arguments)[-1]
    bound.apply_defaults()
    return bound.args[: list(bound.arguments).index(last_given) + 1]


def with_flop_counter(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Figures:
    """The truth about a model that nobody has published: eager kernels hide nothing from torch's counter."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    unique = {id(p): p.numel() for p in model.parameters()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*args, **kwargs)
    return Figures(sum(unique.values()), counter.get_total_flops() // 2)


@dataclass(frozen=True)
class Tool:
    """A tool: the package that brings it, how it is called, and what it counts."""

    package: str
    count: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Figures]
    call: str
    convention: str


TOOLS = {
    "modelsum": Tool(
        "modelsum",
        with_modelsum,
        "`summarize(model, *args, kwargs=kwargs)`",
        "convolution, matmul and attention, op by op; no biases or norms. Lists the ops without a rule",
    ),
    "torchinfo": Tool(
        "torchinfo",
        with_torchinfo,
        "`summary(model, input_data=..., mode='eval')`",
        "mult-adds of modules: their parameters, biases too, times the output positions of a convolution, "
        "times the batch for all else",
    ),
    "fvcore": Tool(
        "fvcore",
        with_fvcore,
        "`FlopCountAnalysis(model, args).total()`, `parameter_count(model)['']`",
        "one flop a multiply-accumulate, in a traced graph; norms, pooling and upsampling too. "
        "Warns of the ops without a rule",
    ),
    "ptflops (aten)": Tool(
        "ptflops",
        with_ptflops_aten,
        "`get_model_complexity_info(..., backend='aten', input_constructor=...)`",
        "MACs of matmuls and convolutions, op by op, with biases. Params: those that require grad",
    ),
    "ptflops (pytorch)": Tool(
        "ptflops",
        with_ptflops_pytorch,
        "`get_model_complexity_info(..., backend='pytorch', input_constructor=...)`",
        "MACs of modules and some functions, for one sample (multiplied here by the batch); biases, norms, "
        "activations and pooling too. Params: those that require grad",
    ),
    "thop": Tool(
        "thop",
        with_thop,
        "`profile(model, inputs=args)`",
        "MACs of modules of known classes; norms, pooling and softmax too. Params: those of the same modules",
    ),
    "torchsummary": Tool(
        "torchsummary",
        with_torchsummary,
        "`summary(model, input_size, device='cpu')`, the total that it prints",
        "parameters only. It makes the inputs itself: float32, a batch of 2",
    ),
}
