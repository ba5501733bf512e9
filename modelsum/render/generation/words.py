"""What is said of a generation: plain words and figures, without a format."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.generation_values import Generation, Phase
from modelsum.render.summary.cells import model_and_class, model_name
from modelsum.units import binary_bytes, count

HEADER = ("", "Prefill", "Decode step")


def verdict(generation: Generation) -> str:
    """The answer in one sentence."""
    serving = generation.serving
    sequences = "" if serving.batch == 1 else f" in {count(serving.batch)} sequences"
    text = f"{count(serving.prompt)} tokens and {count(serving.new)} new ones{sequences}"
    peak = f"{_bounded(generation)}{binary_bytes(generation.peak_bytes)}, in the {generation.peak_phase}"
    said = f"{model_name(generation.model)} peaks at {peak}: {text}"
    if generation.room is None:
        return said
    fits = "fits" if generation.fits else "does not fit"
    return f"{said}; it {fits} {generation.room.words}"


def _bounded(generation: Generation) -> str:
    return "at least " if generation.unmeasured else ""


def table(generation: Generation) -> list[tuple[str, ...]]:
    """Rows below `HEADER`: what each pass takes and does."""
    phases = generation.prefill, generation.decode
    parts = [
        (name, *(binary_bytes(phase.peak.parts[name]) for phase in phases)) for name in phases[0].peak.parts
    ]
    mark = ">= " if generation.unmeasured else ""
    rows = [
        ("Tokens computed", *(count(phase.tokens) for phase in phases)),
        ("Tokens in the cache", *(count(phase.cached) for phase in phases)),
        ("Peak", *(mark + binary_bytes(phase.peak.bytes) for phase in phases)),
        *((f"  {name}", *sizes) for name, *sizes in parts),
        ("  at", *(phase.peak.module or "the model itself" for phase in phases)),
        ("MACs", *(count(phase.macs) for phase in phases)),
        ("Bytes read", *(binary_bytes(phase.read_bytes) for phase in phases)),
    ]
    if all(phase.process_bytes for phase in phases):
        rows.append(("Process total", *map(_process, phases)))
    return rows


def _process(phase: Phase) -> str:
    assert phase.process_bytes is not None
    least, most = phase.process_bytes
    return f"{binary_bytes(least)} to {binary_bytes(most)}"


def facts(generation: Generation) -> Iterator[tuple[str, str]]:
    """Weights, cache, and what fits."""
    weights = generation.weights
    yield "Weights", f"{binary_bytes(weights.bytes)}  ({weights.words}; {count(weights.params)} params)"
    for name, size in sorted(weights.parts.items(), key=lambda part: -part[1]):
        yield f"  {name}", binary_bytes(size)
    serving = generation.serving
    per_token = generation.cache_bytes_per_token
    yield "Cache", f"{binary_bytes(generation.cache_bytes)}  ({_kind(generation)})"
    yield (
        "  a token",
        f"{count(per_token)} bytes of each sequence" if per_token else "nothing: it does not grow",
    )
    if generation.cache_state_bytes:
        yield "  fixed", f"{binary_bytes(generation.cache_state_bytes)} of each sequence"
    if serving.batch > 1:
        yield "  a sequence", binary_bytes(generation.cache_bytes // serving.batch)
    yield from _fitting(generation)


def _kind(generation: Generation) -> str:
    serving = generation.serving
    dtype = f", {serving.kv_dtype}" if serving.kv_dtype else ""
    sequences = "a sequence" if serving.batch == 1 else f"each of {count(serving.batch)} sequences"
    return f"{serving.cache}{dtype}, {count(serving.cached)} tokens of {sequences}"


def _fitting(generation: Generation) -> Iterator[tuple[str, str]]:
    room = generation.room
    if room is None:
        return
    serving = generation.serving
    with_batch = f"with {count(serving.batch)} sequence{'s' if serving.batch > 1 else ''}"
    longest = "none fits" if room.longest_context is None else f"{count(room.longest_context)} tokens"
    if room.longest_context is not None and room.context_limit == "positions":
        longest += ", all that the model has positions for"
    yield "Longest context", f"{longest}, {with_batch}"
    most = "not even one fits" if room.most_sequences is None else f"{count(room.most_sequences)} sequences"
    yield "Largest batch", f"{most}, with {count(serving.context)} tokens each"
    seconds = generation.least_seconds_per_token
    if seconds and room.bandwidth:
        speed = (
            f"{serving.batch / seconds:,.0f} tokens a second" if seconds < 1 else f"{seconds:.1f} s a step"
        )
        bandwidth = f"{room.bandwidth / 10**9:,.0f} GB/s"
        yield (
            "Fastest",
            f"a bound: {speed}, as {binary_bytes(generation.decode_read_bytes)} are read at {bandwidth}",
        )


def provenance(generation: Generation) -> Iterator[tuple[str, str]]:
    """Of which model, and what was taken for granted."""
    yield "Model", f"{model_and_class(generation.model)}, {generation.dtype}"
    if generation.weights.kept:
        kept = generation.weights.kept
        why = ", ".join(dict.fromkeys(kept.values()))
        yield "Kept", f"not stored so: {count(len(kept))} matrices: {why}"
    yield "Assumed", "; ".join(f"{name}: {value}" for name, value in generation.assumptions.items())
    yield (
        "Computed",
        f"from shapes, in {count(generation.predictions)} passes for {generation.target}; nothing was run",
    )
    if generation.unmeasured:
        yield "At least", f"what {', '.join(generation.unmeasured)} allocates in its kernel is not known"
