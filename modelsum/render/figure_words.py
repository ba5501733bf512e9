"""Totals of a report in words: their labels, and amounts and changes as people read them."""

from __future__ import annotations

from modelsum.units import binary_bytes, binary_unit, count, rounded, short_count

#: Labels by the names of the totals of a report, and of figures that come from these.
LABELS = {
    "params": "Params",
    "trainable_params": "Trainable params",
    "frozen_params": "Frozen params",
    "packed_params": "Packed params",
    "param_bytes": "Params size",
    "buffers": "Buffers",
    "buffer_bytes": "Buffers size",
    "macs": "MACs",
    "flops": "FLOPs",
    "training_macs": "Training MACs",
    "input_bytes": "Input size",
    "module_calls": "Module calls",
    "torchsummary_rows": "torchsummary rows",
    "torchsummary_input_bytes": "Input size",
    "forward_backward_bytes": "Forward/backward",
    "torchsummary_params_bytes": "Params size",
    "torchsummary_total_bytes": "Estimated total",
    "saved_for_backward_bytes": "Saved for backward",
    "inference_peak_bytes": "Inference peak",
    "training_peak_bytes": "Training peak",
    "first_step_peak_bytes": "First step's peak",
    "allocated_bytes": "Allocated in blocks",
    "reserved_bytes": "Reserved",
    "process_least_bytes": "Process minimum",
    "process_most_bytes": "Process maximum",
    "weights_bytes": "Weights in memory",
    "cache_bytes": "Cache",
    "cache_bytes_per_token": "Cache a token",
    "prefill_peak_bytes": "Prefill's peak",
    "decode_peak_bytes": "Decode step's peak",
    "prefill_macs": "Prefill's MACs",
    "decode_macs": "Decode step's MACs",
    "decode_read_bytes": "Read by a decode step",
}


def label(name: str) -> str:
    """What a figure is called."""
    return LABELS.get(name, name)


def is_bytes(name: str) -> bool:
    """Whether a figure is in bytes."""
    return name.endswith("_bytes") or name == "cache_bytes_per_token"


def amount(name: str, figure: int | None, digits: int | None = None) -> str:
    """A figure: an exact count, or bytes in a binary unit; a dash where it is not known.

    `digits` rounds it to so many: "25.6 M", "528 MiB".
    """
    if figure is None:
        return "-"
    if not is_bytes(name):
        return count(figure) if digits is None else short_count(figure, digits)
    size, unit = binary_unit(figure)
    return binary_bytes(figure) if digits is None else f"{rounded(figure / size, digits)} {unit}"


def change(name: str, difference: int | None) -> str:
    """A difference with its sign, "+231,211,008", "-1.50 MiB"; "0" for none."""
    if difference is None:
        return "-"
    if not difference:
        return "0"
    sign = "-" if difference < 0 else "+"
    return f"{sign}{amount(name, abs(difference))}"


def percent(share: float | None) -> str:
    """A share with its sign, "+5.99%"; empty for none, and never 0 for something."""
    if not share:
        return ""
    sign = "-" if share < 0 else "+"
    if abs(share) < 0.0001:
        return f"{sign}<0.01%"
    return f"{share:+,.2%}" if abs(share) < 10 else f"{sign}{abs(share):,.0%}"
