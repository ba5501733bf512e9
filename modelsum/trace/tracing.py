"""A model and its inputs -> a Summary: one hooked forward, read out into plain values."""

from __future__ import annotations

import gc
import platform
import sys
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from modelsum.errors import ForwardError
from modelsum.raised import said, told
from modelsum.summary import Input, Layer, Model, Summary, TorchsummaryTotals, Totals
from modelsum.trace import census
from modelsum.trace.advice import advice
from modelsum.trace.attributes import attributes
from modelsum.trace.call import Call
from modelsum.trace.census import Census, elements
from modelsum.trace.expectations import explain
from modelsum.trace.holders import named_tensors_held
from modelsum.trace.isolation import deep_enough, isolated, plain_ops, runs_on_meta, uncollected
from modelsum.trace.modes import set_mode
from modelsum.trace.recorder import Execution, Recorder
from modelsum.trace.shapes import tensor_shape
from modelsum.trace.torch_private import packed_tensors_of
from modelsum.version import __version__

_FLOAT_BYTES = 4  # the torchsummary convention takes every element for a float32


def trace(
    call: Call,
    *,
    identity: Model,
    mode: str,
    device: torch.device,
    batch: int | None,
    notices: tuple[str, ...] = (),
) -> Summary:
    """Make the call once without gradients and say what it cost.

    Its model has to be the caller's own: it is switched to `mode` and keeps what the forward does to it.
    Global state (random numbers, grad mode, default dtype) is put back.

    Args:
        call: on `device`.
        identity: what the summary says of which model this is.
        mode: "eval" or "train".
        batch: the batch size that the summary reports.
        notices: what the summary passes on to the reader.

    Raises:
        ForwardError: the forward raised; carries the summary of what did run.
    """
    with deep_enough(call.model), uncollected(device):
        recorder, error = _run(call, mode, device)
        summary = _summary(call, recorder, error is None, identity, mode, device, batch, notices)
    if error is not None:
        raise _forward_error(error, recorder, summary, device) from error
    return summary


def listed(
    call: Call,
    *,
    identity: Model,
    mode: str,
    device: torch.device,
    notices: tuple[str, ...] = (),
) -> Summary:
    """What is known without a call: the modules, and what they hold. As `trace`, but nothing runs."""
    with deep_enough(call.model), uncollected(device):
        return _summary(call, Recorder(call, device), False, identity, mode, device, None, notices)


def _summary(
    call: Call,
    recorder: Recorder,
    executed: bool,
    identity: Model,
    mode: str,
    device: torch.device,
    batch: int | None,
    notices: tuple[str, ...],
) -> Summary:
    found = Census(call.model)  # as the forward left it: lazy layers have their shapes
    return Summary(
        model=identity,
        inputs=_describe_inputs(call),
        mode=mode,
        device=str(device),
        dtype=_dtype(call, found),
        batch=batch,
        executed=executed,
        totals=_totals(call, found, recorder),
        torchsummary=_torchsummary_totals(call, found, recorder),
        layers=tuple(_layers(recorder, found)),
        macs_by_op=dict(recorder.macs_by_op.most_common()),
        uncounted_ops=dict(sorted(recorder.uncounted.items())),
        notices=notices + _notices(recorder, found),
        made_with={
            "modelsum": __version__,
            "torch": str(torch.__version__),  # a class of torch otherwise
            "python": platform.python_version(),
        },
    )


def _run(call: Call, mode: str, device: torch.device) -> tuple[Recorder, Exception | None]:
    """What one hooked forward recorded, and what it raised."""
    imported = len(sys.modules)
    with isolated(), plain_ops(), runs_on_meta(device), torch.no_grad():
        set_mode(call.model, train=mode == "train")
        recorder = Recorder(call, device)
        try:
            recorder.run()
        except Exception as error:
            return recorder, error
    if len(sys.modules) != imported:
        gc.collect()  # frames of ops that import something hold on to the model's tensors in a cycle
    return recorder, None


def _describe_inputs(call: Call) -> tuple[Input, ...]:
    positional: Any = call.args[0] if len(call.args) == 1 else call.args
    named = (*named_tensors_held(positional), *named_tensors_held(call.kwargs))
    return tuple(
        Input(name or None, tensor_shape(t), str(t.dtype).removeprefix("torch.")) for name, t in named
    )


def _dtype(call: Call, found: Census) -> str:
    return census.common_dtype(found.parameters) or census.common_dtype(call.inputs()) or "float32"


def _totals(call: Call, found: Census, recorder: Recorder) -> Totals:
    share = census.Share.of_all(found.parameters)
    packed = (tensor for module in found.modules.values() for tensor in packed_tensors_of(module))
    return Totals(
        params=share.params,
        trainable_params=share.trainable,
        param_bytes=sum(map(census.nbytes, found.parameters)),
        buffers=sum(b.numel() for b in found.buffers),
        buffer_bytes=sum(map(census.nbytes, found.buffers)),
        packed_params=sum(tensor.numel() for tensor in packed),
        macs=recorder.macs if recorder.calls else None,
        input_bytes=sum(map(census.nbytes, call.inputs())),
        module_calls=recorder.calls,
        tokens=(tokens := _tokens(call)),
        active_params=share.params - _idle(recorder, tokens) if recorder.experts and tokens else None,
    )


def _tokens(call: Call) -> int | None:
    """Tokens of a call of a language model: elements of its first [batch, length] of ids."""
    ids = (t for t in call.inputs() if t.dtype is torch.int64 and t.dim() == 2)
    return next((t.numel() for t in ids), None)


def _idle(recorder: Recorder, tokens: int) -> int:
    """Elements of experts that a token does not meet."""
    return sum(n - n * met // (tokens * experts) for n, experts, met in recorder.experts.values())


def _torchsummary_totals(call: Call, found: Census, recorder: Recorder) -> TorchsummaryTotals:
    rows = [
        execution
        for execution in recorder.root.walk()
        if execution is not recorder.root
        and execution.exit_order is not None
        and not _is_container(execution.module)
    ]
    outputs = sum(execution.output_elements for execution in rows)
    return TorchsummaryTotals(
        rows=len(rows),
        input_bytes=_FLOAT_BYTES * sum(t.numel() for t in call.inputs()),
        forward_backward_bytes=2 * _FLOAT_BYTES * outputs,
        params_bytes=_FLOAT_BYTES * census.Share.of_all(found.parameters).params,
    )


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList))


_GROUPED = ("aten._grouped_mm", "aten._scaled_grouped_mm", "transformers.grouped_mm_fallback")


def _notices(recorder: Recorder, found: Census) -> tuple[str, ...]:
    notices = []
    if found.uninitialized:
        notices.append("some parameters are uninitialized: their size is known only after a forward pass")
    integers = sum(p.numel() for p in found.parameters if _is_integer(p) and elements(p) == p.numel())
    if integers:
        notices.append(
            f"{integers:,} params are integers, as of quantised weights: "
            "counted are the elements that are stored, however many weights are packed in one"
        )
    if grouped := sum(recorder.macs_by_op[op] for op in _GROUPED):
        notices.append(
            f"mixture of experts: {grouped:,} MACs are grouped matmuls, "
            "of the tokens that the experts compute"
        )
    if recorder.lazy_output:
        notices.append("the output is a generator: what it computes when it is read is not counted")
    if recorder.scripted:
        names = ", ".join(path or "the model" for path in recorder.scripted[:3])
        more = f" and {len(recorder.scripted) - 3} more" if len(recorder.scripted) > 3 else ""
        notices.append(
            f"TorchScript in {names}{more}: the modules inside take no hooks, so their rows show no calls; "
            "their work is counted in the row around them"
        )
    return tuple(notices)


def _is_integer(tensor: torch.Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized)


# ---- rows


def _layers(recorder: Recorder, found: Census) -> Iterator[Layer]:
    """A row for every execution as they began; modules that were not called stand under their parent."""
    owned, shares = found.own, found.shares()
    counted: set[Hashable] = set()
    _group(recorder.root, found.modules)
    _add_uncalled(recorder.root, found.modules)
    numbered = list(_numbered(recorder.root))
    macs = [execution.own_macs for _, execution in numbered]
    for index in range(len(numbered) - 1, 0, -1):
        macs[numbered[index][0] or 0] += macs[index]
    for (parent, execution), call_macs in zip(numbered, macs, strict=True):
        own = owned[id(execution.module)]
        share, own_share = shares[id(execution.module)], found.own_shares[id(execution.module)]
        fresh_share = own_share
        if not counted.isdisjoint(own):
            fresh_share = census.Share.of_all(p for key, p in own.items() if key not in counted)
        counted.update(own)
        yield Layer(
            path=execution.path,
            class_name=type(execution.module).__name__,
            call=execution.number,
            depth=execution.path.count(".") + 1 if execution.path else 0,
            parent=parent,
            exit_order=execution.exit_order,
            container=_is_container(execution.module),
            group=execution.number == 0
            and any(child.number or child.children for child in execution.children),
            failed=execution is recorder.failure,
            input_shapes=execution.input_shapes,
            output_shapes=execution.output_shapes,
            params=share.params,
            own_params=own_share.params,
            counted_params=fresh_share.params,
            trainable_params=share.trainable,
            own_trainable_params=own_share.trainable,
            macs=call_macs,
            own_macs=execution.own_macs,
            output_elements=execution.output_elements,
            output_bytes=execution.output_bytes,
            reused=execution.number > 1,
            counted_trainable_params=fresh_share.trainable,
            attributes=attributes(execution.module),
            own_buffers=sum(b.numel() for b in found.own_buffers[id(execution.module)].values()),
        )


def _numbered(root: Execution) -> Iterator[tuple[int | None, Execution]]:
    """Every execution with the index of that in which it happened, in the order of `Execution.walk`."""
    pending: list[tuple[int | None, Execution]] = [(None, root)]
    index = 0
    while pending:
        parent, execution = pending.pop()
        yield parent, execution
        pending.extend((index, child) for child in reversed(execution.children))
        index += 1


def _group(root: Execution, modules: Mapping[str, nn.Module]) -> None:
    """Put calls inside a module that is not called itself (an nn.ModuleList, say) under a row of its own."""
    for execution in list(root.walk()):
        groups: dict[str, Execution] = {}
        grouped: list[Execution] = []
        prefix = f"{execution.path}." if execution.path else ""
        for child in execution.children:
            inside = (
                child.path.removeprefix(prefix).rpartition(".")[0] if child.path.startswith(prefix) else ""
            )
            level, path = grouped, prefix.rstrip(".")
            for name in inside.split(".") if inside else ():
                path = f"{path}.{name}" if path else name
                if path not in groups:
                    groups[path] = Execution(path, modules[path], 0)
                    level.append(groups[path])
                level = groups[path].children
            level.append(child)
        execution.children = grouped


def _add_uncalled(root: Execution, modules: Mapping[str, nn.Module]) -> None:
    """Give every module that was never called a place under the first call of its nearest called parent."""
    first_call: dict[str, Execution] = {}
    for execution in root.walk():
        first_call.setdefault(execution.path, execution)
    for path, module in modules.items():
        if path in first_call:
            continue
        parent = path
        while parent not in first_call:
            parent = parent.rpartition(".")[0]
        first_call[path] = execution = Execution(path, module, 0)
        first_call[parent].children.append(execution)


# ---- failures


def _forward_error(
    error: Exception, recorder: Recorder, summary: Summary, device: torch.device
) -> ForwardError:
    execution = recorder.failure or recorder.root
    text = said(error)
    layer = type(execution.module)
    place = f"{execution.path} ({layer.__name__})" if execution.path else f"{layer.__name__} itself"
    hints = (
        explain(execution.module, execution.path, execution.input_shapes, text),
        advice(recorder.root, execution, summary.inputs, summary.batch),
    )
    return ForwardError(
        f"the forward failed in {place}: {told(error)}",
        "\n".join(filter(None, hints)),
        summary=summary,
        device_limit=device.type == "meta" and _may_be_meta(error, text, layer),
    )


def _may_be_meta(error: Exception, text: str, layer: type[nn.Module]) -> bool:
    """Whether the meta device may be at fault: always, but where a layer of torch refuses its input."""
    lowered = text.lower()
    if isinstance(error, NotImplementedError) or "meta" in lowered or "device" in lowered:
        return True
    return not layer.__module__.startswith("torch.nn.modules")
