"""A model on meta whose matrices take the bytes that a format stores them in.

A meta tensor is a shape beside a storage that is nothing but a size. So a matrix keeps its shape and computes
as before, and its storage takes what its values, scales and zeros take; while it is multiplied, what its
kernel allocates is there as a tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.errors import UsageError
from modelsum.generation.configured import of_configuration
from modelsum.generation.formats import USUAL, Format
from modelsum.generation_values import Stored
from modelsum.trace import census

_PLAIN = {"float32": torch.float32, "float16": torch.float16, "bf16": torch.bfloat16}


def store(model: Any, weights: str | None) -> tuple[Stored, tuple[str, ...]]:
    """Store a model's weights in a format, by default what its configuration says; and what to say of it.

    Raises UsageError where no matrix of the model can have the format.
    """
    params = sum(p.numel() for p in census.unique(model.parameters()))
    said = of_configuration(_entries(model)) if weights is None else None
    chosen = said.format if said is not None else USUAL.get(str(weights))
    if weights in _PLAIN:
        model.to(_PLAIN[weights])
    element = next((p.element_size() for p in model.parameters() if p.is_floating_point()), 4)
    dtype = str(getattr(model, "dtype", "")).removeprefix("torch.")
    parts: Counter[str] = Counter()
    kept: dict[str, str] = {}
    _others(model, dtype, parts, set() if chosen is None else _stored(model, chosen, element, parts, kept))
    total = sum(size for size in parts.values())
    words = chosen.words if chosen is not None else dtype
    return Stored(words, total, params, dict(parts), kept), said.notices if said is not None else ()


def store_matrices(model: nn.Module, weights: str, *, double: bool = False) -> Format:
    """Store the matrices of a model in a format, its head and all else left as they are; what became of them.

    Raises UsageError where no matrix can have it.
    """
    chosen = replace(USUAL[weights], double=double)
    element = next((p.element_size() for p in model.parameters() if p.is_floating_point()), 4)
    _stored(model, chosen, element, Counter(), {})
    return chosen


def _entries(model: Any) -> Mapping[str, Any] | None:
    found = getattr(model.config, "quantization_config", None)
    if found is None or isinstance(found, Mapping):
        return found
    entries: Mapping[str, Any] = found.to_dict()
    return entries


def _stored(model: Any, chosen: Format, element: int, parts: Counter[str], kept: dict[str, str]) -> set[int]:
    """Store every matrix that can be; the ids of those tensors."""
    shared, done = 0, set()
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    for path, module, weight in _matrices(model):
        out, inputs = _sizes(module, weight)
        why = "the head" if module is head else _skipped(path, chosen) or chosen.refuses(out, inputs)
        if chosen.of_experts and weight.dim() == 2:
            why = why or f"{chosen.name} is for experts"
        if why is not None:
            kept[path] = why
            continue
        if id(weight) in done:
            continue
        done.add(id(weight))
        number = weight.numel() // (out * inputs)
        each = chosen.parts(out, inputs, element)
        for part, size in each.items():
            parts[f"{chosen.name} {part}"] += number * size
        weight.untyped_storage().resize_(number * sum(each.values()))
        shared = max(shared, chosen.shared(out, inputs))
        if weight.dim() == 2:
            _with_scratch(module, chosen, out, inputs, element)
        elif chosen.of_experts:
            _in_float32(module, chosen, parts, done)
    if not parts:
        reason = next(iter(kept.values()), "it has none")
        raise UsageError(f"no matrix of {type(model).__name__} can be stored as {chosen.words}: {reason}")
    if shared:
        model.register_buffer("quantizer_scratch", torch.empty(shared, dtype=torch.uint8, device="meta"))
    return done


def _in_float32(module: nn.Module, chosen: Format, parts: Counter[str], done: set[int]) -> None:
    """Store the biases of experts as transformers does beside such matrices (Mxfp4GptOssExperts)."""
    for name, bias in module.named_parameters(recurse=False):
        if name.endswith("_bias") and id(bias) not in done:
            done.add(id(bias))
            parts[f"{chosen.name} biases"] += 4 * bias.numel()
            bias.untyped_storage().resize_(4 * bias.numel())


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """The weights that formats are for: of linear layers, and of the experts that a layer holds together."""
    for path, module in census.modules_of(model).items():
        for name, weight in module.named_parameters(recurse=False):
            linear = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
            experts = weight.dim() == 3 and "xperts" in type(module).__name__
            if (linear and name == "weight") or experts:
                yield path if linear else f"{path}.{name}", module, weight


def _sizes(module: nn.Module, weight: Tensor) -> tuple[int, int]:
    out, inputs = weight.shape[-2:]
    return (inputs, out) if type(module).__name__ == "Conv1D" else (out, inputs)


def _skipped(path: str, chosen: Format) -> str | None:
    found = next((each for each in chosen.kept if fnmatchcase(path, f"*{each.removeprefix('re:.*')}*")), None)
    return f"the configuration keeps {found!r}" if found is not None else None


def _with_scratch(module: nn.Module, chosen: Format, out: int, inputs: int, element: int) -> None:
    """Have the memory of the kernel there while the layer runs."""
    held: list[Tensor] = []

    def take(rows: int) -> None:
        if size := chosen.scratch(rows, out, inputs, element):
            held.append(torch.empty(size, dtype=torch.uint8, device="meta"))

    def before(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        take(args[0].numel() // inputs)
        # Of its own, as a layer's input may go to others too: its gradient is there when this layer's is.
        return (args[0].view_as(args[0]), *args[1:])

    def after(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        held.clear()
        if output.requires_grad:  # what is derived is multiplied with it again
            output.register_hook(lambda gradient: take(gradient.numel() // out))
            if args[0].requires_grad:
                args[0].register_hook(lambda gradient: held.clear())

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)


def _others(model: nn.Module, dtype: str, parts: Counter[str], done: Collection[int]) -> None:
    """Add the bytes of what is in no format, by what it is: embeddings, others, buffers."""
    embedded = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for tensor in census.unique((*model.parameters(), *model.buffers())):
        if id(tensor) not in done:
            named = f"{dtype} embeddings" if id(tensor) in embedded else f"{dtype} others"
            parts[named if isinstance(tensor, nn.Parameter) else "buffers"] += census.nbytes(tensor)
