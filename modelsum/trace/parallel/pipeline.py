"""Pipeline parallelism: the part of a model that a stage runs, and torch's own schedule of its steps.

The stages share the repeated blocks of the model evenly, the first ones one more where they do not divide;
what comes before the blocks is the first stage's, what comes after them the last one's. The schedule is 1F1B
(torch.distributed.pipelining), its microbatches are the passes whose gradients add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.errors import UsageError
from modelsum.memory.log import BACKWARD, FORWARD
from modelsum.trace.call import Call
from modelsum.trace.holders import tensors_in
from modelsum.trace.torch_private import sends_that_hold
from modelsum.trace.values.known_values import carried

_META = torch.device("meta")


@dataclass(frozen=True, slots=True)
class Chain:
    """A model as a chain of parts, some of them repeated blocks.

    Attributes:
        holder: path of the module that has the parts; "" for the model.
        before, blocks, after: names of the parts in the holder, in order; a block's with its list's.
    """

    holder: str
    before: tuple[str, ...]
    blocks: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the blocks in the model."""
        return tuple(f"{self.holder}.{name}" if self.holder else name for name in self.blocks)

    def of_stage(self, stage: int, stages: int) -> tuple[str, ...]:
        """The names of the blocks of a stage."""
        each, more = divmod(len(self.blocks), stages)
        first = stage * each + min(stage, more)
        return self.blocks[first : first + each + (stage < more)]


def chain_of(model: nn.Module, stages: int) -> Chain:
    """The chain that a model is: an nn.Sequential, or what the plan of transformers says (`_pp_plan`).

    Raises UsageError where it is none, or has fewer blocks than there are stages.
    """
    found = _of_sequential(model) if isinstance(model, nn.Sequential) else _of_plan(model)
    if found is None:
        raise UsageError(
            f"pp={stages}: nothing says in what order {type(model).__name__} runs its parts",
            "Models that can be cut are those of transformers with a _pp_plan, and nn.Sequential.",
        )
    if len(found.blocks) < stages:
        raise UsageError(f"pp={stages}: {type(model).__name__} has {len(found.blocks)} blocks to share")
    return found


def _of_sequential(model: nn.Sequential) -> Chain:
    names = [name for name, _ in model.named_children()]
    weights: dict[type, int] = {}
    for child in model:
        weights[type(child)] = weights.get(type(child), 0) + sum(p.numel() for p in child.parameters())
    kind = max(weights, key=lambda each: (sum(type(c) is each for c in model) > 1, weights[each]))
    places = [place for place, child in enumerate(model) if type(child) is kind]
    first, last = places[0], places[-1] + 1
    return Chain("", tuple(names[:first]), tuple(names[first:last]), tuple(names[last:]))


def _of_plan(model: nn.Module) -> Chain | None:
    for path, module in model.named_modules():
        plan = getattr(module, "_pp_plan", None)
        if not isinstance(plan, Mapping) or not all(hasattr(module, name) for name in plan):
            continue
        lists = [name for name in plan if isinstance(getattr(module, name), nn.ModuleList)]
        if len(lists) != 1 or path.count("."):
            continue
        names, place = list(plan), list(plan).index(lists[0])
        blocks = tuple(f"{lists[0]}.{name}" for name, _ in getattr(module, lists[0]).named_children())
        return Chain(path, tuple(names[:place]), blocks, tuple(names[place + 1 :]))
    return None


class Piece(nn.Module):
    """What a stage runs, from one tensor to one tensor.

    Attributes:
        part: the module that is called; `keyword` is the argument that it takes the tensor by.
    """

    def __init__(self, part: nn.Module, keyword: str | None) -> None:
        super().__init__()
        self.part = part
        self.keyword = keyword

    def forward(self, tensor: Tensor) -> Tensor:
        """Call the part."""
        out = self.part(**{self.keyword: tensor}) if self.keyword else self.part(tensor)
        return output_of(out)


def output_of(out: Any) -> Tensor:
    """The tensor that goes on to the next stage, or into the loss."""
    named = out.get("logits") if isinstance(out, Mapping) else None
    return named if isinstance(named, Tensor) else next(iter(tensors_in(out)))


def cut(model: nn.Module, chain: Chain, stage: int, stages: int) -> tuple[nn.Module, str, str | None]:
    """Take from a model what is not of a stage.

    Returns:
        What the stage calls, its path in the model, and the argument that it takes hidden states by.
    """
    holder = model.get_submodule(chain.holder)
    kept = {*chain.of_stage(stage, stages)}
    kept |= {*(chain.before if stage == 0 else ()), *(chain.after if stage == stages - 1 else ())}
    if isinstance(holder, nn.Sequential):
        for name, _ in [*holder.named_children()]:
            if name not in kept:
                delattr(holder, name)
        return model, "", None
    (listed,) = {name.partition(".")[0] for name in chain.blocks}
    blocks = nn.ModuleList()
    for name, block in getattr(holder, listed).named_children():
        if f"{listed}.{name}" in kept:
            blocks.add_module(name, block)
    setattr(holder, listed, blocks)
    for name in (*chain.before, *chain.after):
        if name not in kept:
            setattr(holder, name, None if name in chain.before else nn.Identity())
    keyword = None if stage == 0 else "inputs_embeds"
    last = stage == stages - 1
    return (model, "", keyword) if last else (holder, chain.holder, keyword)


def boundary(call: Call, chain: Chain, stages: int) -> tuple[Tensor, Tensor]:
    """What goes from stage to stage, and what comes out of the last one: of one microbatch, on meta."""
    import torch.distributed.pipelining  # here, as its modules make tensors, which are none of the step's

    seen: list[Tensor] = []
    holder = call.model.get_submodule(chain.holder)
    block = holder.get_submodule(chain.of_stage(0, stages)[-1])
    handle = block.register_forward_hook(lambda module, args, out: seen.append(output_of(out)))
    try:
        with torch.no_grad(), carried():
            out = output_of(call.renewed()())
    finally:
        handle.remove()
    return seen[0], out


def input_of(call: Call) -> Tensor:
    """The one tensor that the model is called with. Raises UsageError where there are others."""
    tensors = list(call.inputs())
    if len(tensors) != 1:
        raise UsageError(f"pp: a call with {len(tensors)} tensors is not cut into stages, only one with one")
    return tensors[0]


def schedule(
    piece: nn.Module,
    stage: int,
    stages: int,
    group: Any,
    ends: tuple[Tensor, Tensor],
    whole: Tensor | None,
    microbatches: int,
) -> tuple[
    Callable[[Callable[[str], None], Callable[[Any], Tensor | None]], None], Callable[[], Iterator[Tensor]]
]:
    """Torch's 1F1B of one stage: what runs all microbatches of a step, forward and backward.

    Args:
        piece: of this stage.
        stage, stages: which it is, of how many.
        group: of the stages.
        ends: what it takes and what it gives, of a microbatch.
        whole: the batch of all microbatches, for the first stage.
        microbatches: how many.

    Returns:
        What is called with what takes note of a phase, and with the loss of an output; and what tells the
        tensors into which it receives, which are made by the first step and stay.
    """
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    tell: Callable[[str], None] = lambda phase: None  # noqa: E731
    loss: Callable[[Any], Tensor | None] = lambda output: None  # noqa: E731

    class Told(PipelineStage):
        def forward_one_chunk(self, *args: Any, **kwargs: Any) -> Any:
            tell(FORWARD)
            return super().forward_one_chunk(*args, **kwargs)

        def backward_one_chunk(self, *args: Any, **kwargs: Any) -> Any:
            tell(BACKWARD)
            return super().backward_one_chunk(*args, **kwargs)

    takes, gives = ends
    here = Told(piece, stage, stages, _META, input_args=(takes,), output_args=(gives,), group=group)
    last = stage == stages - 1
    runs = Schedule1F1B(here, microbatches, loss_fn=lambda output, target: loss(output))

    def step(telling: Callable[[str], None], losing: Callable[[Any], Tensor | None]) -> None:
        nonlocal tell, loss
        tell, loss = telling, losing
        given: dict[str, Any] = {"target": torch.empty(microbatches, device=_META)} if last else {}
        with sends_that_hold():
            runs.step(*(() if whole is None else (whole,)), **given)

    def received() -> Iterator[Tensor]:
        for info in (*here.args_recv_info.values(), *here.grad_recv_info.values()):
            yield from (each.buffer for each in info if isinstance(getattr(each, "buffer", None), Tensor))

    return step, received
