"""The figures that a gate knows: what they are called in limits, tolerances and pins, and their units."""

from __future__ import annotations

from dataclasses import dataclass

from modelsum.errors import UsageError, did_you_mean
from modelsum.summary import Summary
from modelsum.units import count, exact_bytes


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a model's cost.

    Attributes:
        name: what the configuration calls it.
        is_bytes: in bytes; a count otherwise.
        of_memory: a figure of the predicted training step, which may be left out or not be known.
        of_generation: a figure of a text that is written, where one is asked for.
    """

    name: str
    is_bytes: bool = False
    of_memory: bool = False
    of_generation: bool = False

    @property
    def json_name(self) -> str:
        """What JSON and the columns of a sweep call it."""
        return f"{self.name.removesuffix('_bytes')}_bytes" if self.is_bytes else self.name


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure("params"),
        Figure("trainable_params"),
        Figure("param_bytes", is_bytes=True),
        Figure("buffers"),
        Figure("buffer_bytes", is_bytes=True),
        Figure("macs"),
        Figure("flops"),
        Figure("training_macs", of_memory=True),
        Figure("uncounted_ops"),
        Figure("forward_backward", is_bytes=True),
        Figure("saved_for_backward", is_bytes=True, of_memory=True),
        Figure("inference_peak", is_bytes=True, of_memory=True),
        Figure("training_peak", is_bytes=True, of_memory=True),
        Figure("first_step_peak", is_bytes=True, of_memory=True),
        Figure("reserved", is_bytes=True, of_memory=True),
        Figure("weights", is_bytes=True, of_generation=True),
        Figure("cache", is_bytes=True, of_generation=True),
        Figure("cache_bytes_per_token", is_bytes=True, of_generation=True),
        Figure("prefill_peak", is_bytes=True, of_generation=True),
        Figure("decode_peak", is_bytes=True, of_generation=True),
        Figure("prefill_macs", of_generation=True),
        Figure("decode_macs", of_generation=True),
        Figure("decode_read", is_bytes=True, of_generation=True),
    )
}


def figure(name: str) -> Figure:
    """The figure of that name. Raises UsageError with the nearest."""
    if name not in FIGURES:
        hint = did_you_mean(name, FIGURES) or f"Figures are {', '.join(FIGURES)}."
        raise UsageError(f"there is no figure {name!r}", hint)
    return FIGURES[name]


def amount(name: str, n: int) -> str:
    """So much of a figure, exact: "4,089,184,256", bytes also in a binary unit."""
    return exact_bytes(n) if FIGURES[name].is_bytes else count(n)


def of_summary(summary: Summary) -> dict[str, int | None]:
    """Every figure of a summary, by name; None for those of a memory that is not known."""
    known: dict[str, int | None] = {
        "uncounted_ops": sum(summary.uncounted_ops.values()),
        "forward_backward": summary.torchsummary.forward_backward_bytes,
    }
    for name in FIGURES.keys() - known.keys():
        if FIGURES[name].of_generation:
            known[name] = summary.generation.get(name, summary.generation.get(f"{name}_bytes"))
        elif FIGURES[name].of_memory:
            known[name] = getattr(summary.memory, f"{name}_bytes" if FIGURES[name].is_bytes else name, None)
        else:
            known[name] = getattr(summary.totals, name)
    return known
