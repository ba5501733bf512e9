"""`summarize`: any model and any input -> a Summary. The command line and Python users come in here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

from modelsum.baselines.documented import against_documented
from modelsum.errors import ModelError, NoInputError, UsageError
from modelsum.preparing import Attempt, Prepared, built, first_attempt, own_function
from modelsum.request import Request, request_of
from modelsum.spec import Lora, parse_lora
from modelsum.summary import Summary

if TYPE_CHECKING:
    from torch import nn

    from modelsum.generation.steps import Generator

Progress: TypeAlias = Callable[[str], None]


def summarize(
    model: nn.Module | str,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
    batch: int | None = 1,
    model_args: Mapping[str, Any] | None = None,
    mode: str = "eval",
    device: str = "auto",
    dtype: str | None = None,
    sequence_length: int | None = None,
    memory: bool = True,
    target: str = "cuda",
    task: str | None = None,
    fetch: bool = False,
    lora: Lora | str | None = None,
    **step: Any,
) -> Summary:
    """Say what a model costs, from its shapes; the model is left as it was found.

        >>> summarize("resnet50").totals.macs
        4089184256
        >>> summarize(torch.nn.Linear(8, 2), torch.zeros(5, 8)).totals.macs
        80

    Args:
        model: a module, or any MODEL string of the command line.
        *inputs: the positional arguments of the model's forward, tensors or nested values of any kind.
        kwargs: its keyword arguments.
        input_size: in place of inputs: the shape of one sample, or one such shape for each input.
        batch: the batch size put in front of `input_size` and of the model's default input; None takes the
            shapes literally.
        model_args: constructor arguments, for a MODEL string.
        mode: "eval" or "train".
        device: where the forward runs: "meta" computes shapes and costs nothing, "cpu" and "cuda:N" run
            for real, "auto" is meta and, where the model cannot run there, the CPU.
        dtype: "float32", "float16", "bfloat16" or "float64", of the model and its default inputs; None
            leaves them as they are.
        sequence_length: tokens of the default input of a language model; None for its usual number.
        memory: predict the memory of inference and of a training step too.
        target: the device to predict it for, "cuda" or "cpu".
        task: "causal-lm", "sequence-classification" ...: the head that a model of transformers takes.
        fetch: get the configuration of a model of the Hub, "hf:ORG/NAME", where it is not on this machine.
        lora: adapters that are trained in place of the model, like "r=16,targets=q_proj|v_proj".
        **step: the training step: the fields of `modelsum.memory.MemoryOptions` (optimizer, loss, amp,
            checkpoint, freeze, accumulate, attention, ...). As in torch.optim, `foreach` and `fused` choose
            the optimizer's implementation.

    Raises:
        UsageError: the words are wrong: an unknown name, option, device or input.
        ModelError: the model could not be built, or its forward failed (ForwardError, with the summary
            of what did run).
    """
    request = request_of(
        model,
        inputs,
        kwargs=kwargs,
        input_size=input_size,
        batch=batch,
        model_args=model_args,
        mode=mode,
        device=device,
        dtype=dtype,
        sequence_length=sequence_length,
        memory=memory,
        target=target,
        task=task,
        fetch=fetch,
        lora=parse_lora(lora) if isinstance(lora, str) else lora,
        **step,
    )
    return run(request, listing=True)


def run(request: Request, *, listing: bool = False, progress: Progress = lambda doing: None) -> Summary:
    """Build, run and count what the request asks for. Raises as `summarize` does.

    Args:
        listing: where no input is known, the model's modules are listed, with what they hold.
        progress: told what goes on.
    """
    try:
        return answered(request, progress)[1]
    except NoInputError as error:
        if not listing or error.ready is None:
            raise
        return _listed(request, error)


def _listed(request: Request, error: NoInputError) -> Summary:
    from modelsum.trace.tracing import listed

    ready: Prepared = error.ready
    said = f"{error.message}: its shapes, MACs and memory are not known. {error.hint or ''}".rstrip()
    return listed(
        ready.call,
        identity=ready.identity,
        mode=request.mode,
        device=ready.device,
        notices=(*ready.notices, said),
    )


def answered(request: Request, progress: Progress = lambda doing: None) -> tuple[Request, Summary]:
    """The summary, and the request that it answers: an input without a dtype may turn out to be token ids.

    Raises as `summarize` does.
    """
    attempt = first_attempt(request.for_text() if request.serving is not None else request)
    while True:
        progress(f"{attempt.request.name}: building the model")
        try:
            ready = attempt.prepared()
            with _uncollected(attempt):
                summary = summary_of(attempt.request, ready, progress)
                del ready  # nothing but the summary is left, and there is nothing to collect
            return attempt.request, summary
        except ModelError as error:
            attempt = attempt.after(error)


def _uncollected(attempt: Attempt) -> AbstractContextManager[None]:
    """Collect no garbage before the end: by then most of what was made is gone, and need not be gone through.

    What goes on for long, several processes or a text, is collected in between.
    """
    from modelsum.trace.isolation import uncollected

    request = attempt.request
    is_long = request.serving is not None or (request.memory is not None and request.memory.is_shared)
    return nullcontext() if is_long else uncollected(attempt.device)


def summary_of(request: Request, ready: Prepared, progress: Progress = lambda doing: None) -> Summary:
    """Run and count what was prepared, and predict what the request wants predicted; raises ModelError."""
    from modelsum.trace.tracing import trace

    progress(f"{request.name}: its forward on {ready.device}")
    summary = trace(
        ready.call,
        identity=ready.identity,
        mode=request.mode,
        device=ready.device,
        batch=ready.batch,
        notices=ready.notices,
    )
    if request.memory is not None:
        from modelsum.trace.step.prediction import memory_of

        progress(f"{request.name}: its training step and memory")
        summary = summary.with_memory(
            *memory_of(
                ready.call,
                summary=summary,
                options=request.memory,
                target=request.target,
                own=own_function(request.memory.parallelize),
            )
        )
    if request.serving is not None:
        from modelsum.generation.following import follow

        generator, again = generator_of(request)
        generation = follow(generator, again.identity, request.serving)
        summary = dataclasses.replace(summary, text=request.serving.words, generation=generation.figures)
    changed = ready.loaded.changed or bool(request.freeze)
    baseline = against_documented(summary, options_changed=changed)
    return dataclasses.replace(summary, baseline=baseline)


def generator_of(request: Request) -> tuple[Generator, Prepared]:
    """The request's model, built on meta for a generation of its own, and what is said of it.

    Raises UsageError where it writes no text, BuildError where it cannot be built.
    """
    import torch

    request = dataclasses.replace(request.for_text(), device="meta")
    ready = built(request, torch.device("meta"))
    if not hasattr(ready.loaded.model, "config"):
        name = ready.identity.spec or ready.identity.class_name
        raise UsageError(
            f"{name} is no model of transformers: what it would keep of a text is not known",
            "Give transformers/MODEL_TYPE, hf:ORG/NAME or a folder with config.json.",
        )
    from modelsum.generation.steps import Generator

    return Generator(ready.loaded, request.target, request.memory), ready


def register_macs(op: str, rule: Callable[..., int]) -> None:
    """Count an op of your own.

    Args:
        op: its qualified name, "mylibrary::fused_linear"; replaces a rule of that name.
        rule: called as rule(*args, out=result, **kwargs) with what the op is called with; returns MACs.
    """
    from modelsum.trace.ops import register

    register(op, rule)


def torchinfo_table(request: Request, depth: int | None = None) -> str:
    """The table that torchinfo prints for the request, which `run` must be able to run."""
    attempt = first_attempt(request)

    from modelsum.trace.torchinfo_table import table

    while True:
        try:
            ready = attempt.prepared()
            return table(ready.call, request.mode, ready.device, depth)
        except ModelError as error:
            attempt = attempt.after(error)
