"""The format that a configuration says its weights are in: `quantization_config` of transformers, read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelsum.errors import UsageError
from modelsum.generation.formats import USUAL, Format

#: Classes of torchao's configurations, without "Config".
_OF_TORCHAO: Mapping[str, Format] = {
    "int4weightonly": USUAL["int4"],
    "int8weightonly": Format("torchao int8", 8),
    "int8dynamicactivationint8weight": Format("torchao int8 with inputs", 8),
    "float8dynamicactivationfloat8weight": replace(USUAL["fp8"], group=0),
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a configuration says of its weights.

    Attributes:
        format: None where it has none, or one that is not known here.
        notices: what the reader should know.
    """

    format: Format | None = None
    notices: tuple[str, ...] = field(default=())


def of_configuration(entries: Mapping[str, Any] | None) -> Said:
    """The format that a `quantization_config` describes. Raises UsageError for numbers of another kind."""
    if not entries:
        return Said()
    method = str(entries.get("quant_method", "")).lower()
    if method not in _READ:
        named = f"format {method!r} is not known here" if method else "format has no quant_method"
        return Said(None, (f"the configuration's {named}: give --weights",))
    try:
        found = _READ[method](entries)
    except KeyError as error:
        said = (
            f"of the configuration's format {method!r}, {error.args[0]!r} is not known here: give --weights"
        )
        return Said(None, (said,))
    except (TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"the configuration's format {method!r} cannot be read: {error}", "Give --weights."
        ) from error
    skipped = entries.get("modules_to_not_convert") or entries.get("ignore") or ()
    more = entries.get("llm_int8_skip_modules") or ()
    notices = (_UNPACKED,) if found.name == "mxfp4" else ()
    return Said(replace(found, kept=tuple(map(str, (*skipped, *more)))), notices)


_UNPACKED = "mxfp4 stays packed where its kernels are; elsewhere transformers unpacks it to bfloat16"


def _grouped(name: str) -> Callable[[Mapping[str, Any]], Format]:
    def read(entries: Mapping[str, Any]) -> Format:
        usual = USUAL[name]
        bits = int(entries.get("bits", entries.get("w_bit", usual.bits)))
        group = int(entries.get("group_size", entries.get("q_group_size", usual.group)))
        return replace(usual, bits=bits, group=max(group, 0))

    return read


def _blocks(entries: Mapping[str, Any]) -> Format:
    size = entries.get("weight_block_size")
    return replace(USUAL["fp8"], group=int(size[0]) if size else 0)


def _bitsandbytes(entries: Mapping[str, Any]) -> Format:
    if entries.get("load_in_8bit"):
        return USUAL["int8"]
    kind = str(entries.get("bnb_4bit_quant_type", "fp4"))  # as BitsAndBytesConfig has it
    return replace(USUAL["nf4"], name=kind, double=bool(entries.get("bnb_4bit_use_double_quant")))


def _mxfp4_of(entries: Mapping[str, Any]) -> Format:
    return USUAL["mxfp4"]


def _torchao(entries: Mapping[str, Any]) -> Format:
    """`quant_type`: a word, or {"default": {"_type": class, "_data": its values}}. KeyError for others."""
    kind, data = entries["quant_type"], entries.get("quant_type_kwargs") or {}
    if isinstance(kind, Mapping):
        kind, data = kind["default"]["_type"], kind["default"].get("_data") or {}
    usual = _OF_TORCHAO[str(kind).lower().replace("_", "").removesuffix("config")]
    by = data.get("granularity")
    if isinstance(by, Mapping) and by["_type"] != "PerRow":
        raise KeyError(by["_type"])
    return replace(usual, group=int(data.get("group_size") or usual.group))


def _compressed(entries: Mapping[str, Any]) -> Format:
    weights = next(iter(entries["config_groups"].values()))["weights"]
    bits, group = int(weights["num_bits"]), int(weights.get("group_size") or 0)
    if weights.get("type") == "float":
        return replace(USUAL["fp8"], group=group)
    return replace(USUAL["int8"]) if bits == 8 else replace(USUAL["gptq"], bits=bits, group=group)


_READ: Mapping[str, Callable[[Mapping[str, Any]], Format]] = {
    "gptq": _grouped("gptq"),
    "awq": _grouped("awq"),
    "fp8": _blocks,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed,
    "mxfp4": _mxfp4_of,
    "torchao": _torchao,
}
