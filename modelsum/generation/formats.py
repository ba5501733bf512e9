"""Formats of quantized weights: what a matrix becomes, and what its kernel takes besides. Shapes alone.

A matrix is [out, in], as nn.Linear has it. Each rule says where its layout is from; names are those of
transformers' `quantization_config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

#: Bytes of a matrix by what they are. Called with the format, out, in and the bytes of a model's element.
Layout: TypeAlias = "Callable[[Format, int, int, int], Mapping[str, int]]"
#: Bytes while a matrix is multiplied. Called with the format, rows of the input, out, in and those bytes.
Scratch: TypeAlias = "Callable[[Format, int, int, int, int], int]"


@dataclass(frozen=True, slots=True)
class Format:
    """How matrices are stored.

    Attributes:
        name: of `modelsum.generation_values.WEIGHTS`.
        bits: of a value.
        group: values that share a scale: along the input, or in a square block; 0: a whole row or matrix.
        zeros: groups have zero points.
        double: the scales are quantized themselves (QLoRA).
        kept: parts of the paths of modules that stay as they are.
    """

    name: str
    bits: int
    group: int = 0
    zeros: bool = False
    double: bool = False
    kept: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Like "gptq, 4 bits, groups of 128"."""
        group = f", groups of {self.group}" if self.group else ""
        return f"{self.name}, {self.bits} bits{group}{', scales quantized' if self.double else ''}"

    def refuses(self, out: int, inputs: int) -> str | None:
        """Why a matrix of that size cannot be stored so; None where it can."""
        rule = _RULES[self.name]
        if self.group and rule.whole_groups and inputs % self.group:
            return f"{inputs} inputs are no multiple of a group of {self.group}"
        if rule.multiple and (out % rule.multiple or inputs % rule.multiple):
            return f"{out} x {inputs} are no multiples of {rule.multiple}"
        return None

    @property
    def of_experts(self) -> bool:
        """Only the experts that a layer holds together are stored so, not its other matrices."""
        return _RULES[self.name].experts

    def parts(self, out: int, inputs: int, element: int) -> Mapping[str, int]:
        """Bytes of a matrix."""
        return _RULES[self.name].layout(self, out, inputs, element)

    def scratch(self, rows: int, out: int, inputs: int, element: int) -> int:
        """Bytes that are there while so many rows are multiplied with it."""
        return _RULES[self.name].scratch(self, rows, out, inputs, element)

    def shared(self, out: int, inputs: int) -> int:
        """Bytes of a buffer that all matrices share; the largest counts."""
        return out * inputs * 2 + 128 if self.name == "gptq" and self.bits == 4 else 0


def _ceil(value: int, by: int) -> int:
    return -(-value // by)


def _groups(made: Format, inputs: int) -> int:
    return _ceil(inputs, made.group) if made.group else 1


def _fp8(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """float8 values, a float32 scale for each square block (transformers, finegrained_fp8.py, FP8Linear)."""
    blocks = _ceil(out, made.group) * _ceil(inputs, made.group) if made.group else 1
    return {"values": out * inputs, "scales": 4 * blocks}


def _fp8_input(made: Format, rows: int, out: int, inputs: int, element: int) -> int:
    """The input in float8, with a scale for each block of a row (act_quant in the same file)."""
    return rows * inputs + 4 * rows * (_groups(made, inputs) if made.group else 1)


def _int8(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """bitsandbytes, Int8Params: CB in int8, SCB a float32 for each row (LLM.int8, arXiv 2208.07339)."""
    return {"values": out * inputs, "scales": 4 * out}


def _int8_product(made: Format, rows: int, out: int, inputs: int, element: int) -> int:
    """The input in int8 with a float32 for each row, and the product in int32 before it is scaled."""
    return rows * inputs + 4 * rows + 4 * rows * out


def _rows_of_int8(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """torchao, Int8Tensor by rows: for each a scale in float32 and a zero point in int8."""
    return {"values": out * inputs, "scales": 4 * out, "zeros": out}


def _unpacked(made: Format, rows: int, out: int, inputs: int, element: int) -> int:
    """The whole matrix in the model's dtype (torchao, int8_tensor.py, weight-only)."""
    return out * inputs * element


def _int4(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """torchao, int4_weight_only: scale and zero of each group in bfloat16 (_weight_int4pack_mm)."""
    groups = out * _groups(made, inputs)
    return {"values": out * inputs // 2, "scales": 2 * groups, "zeros": 2 * groups}


def _nf4(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """bitsandbytes, Params4bit: a float32 for 64 values and 16 code words (QLoRA, arXiv 2305.14314).

    With its scales quantized: a byte for each, a float32 for 256 of them, 256 code words, an offset.
    """
    groups = _ceil(out * inputs, made.group)
    scales = groups + 4 * _ceil(groups, 256) + 4 * 256 + 4 if made.double else 4 * groups
    return {"values": _ceil(out * inputs, 2), "scales": scales + 4 * 16}


def _nf4_weight(made: Format, rows: int, out: int, inputs: int, element: int) -> int:
    """The whole matrix in the model's dtype, but for a single row (bitsandbytes, matmul_4bit)."""
    return out * inputs * element if rows > 1 else 0


def _mxfp4(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """A byte of scale for 32 values (OCP Microscaling Formats 1.0; transformers, Mxfp4GptOssExperts)."""
    return {"values": _ceil(out * inputs, 2), "scales": out * _groups(made, inputs)}


def _awq(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """autoawq, WQLinear_GEMM: qweight, qzeros in int32 words, scales in float16 (arXiv 2306.00978)."""
    groups = _groups(made, inputs)
    zeros = groups * out * made.bits // 8
    return {"values": inputs * out * made.bits // 8, "zeros": zeros, "scales": 2 * groups * out}


def _awq_product(made: Format, rows: int, out: int, inputs: int, element: int) -> int:
    """From 1,024 rows the whole matrix in float16, before that 8 partial products (autoawq, gemm.py)."""
    return 2 * out * inputs if rows >= 1024 else 8 * 2 * rows * out


def _gptq(made: Format, out: int, inputs: int, element: int) -> Mapping[str, int]:
    """auto-gptq, QuantLinear: qweight, qzeros in int32 words, scales in float16, g_idx (arXiv 2210.17323)."""
    groups = _groups(made, inputs)
    return {
        "values": inputs * out * made.bits // 8,
        "zeros": groups * out * made.bits // 8,
        "scales": 2 * groups * out,
        "order of groups": 4 * inputs,
    }


def _none(made: Format, rows: int, out: int, inputs: int, element: int) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class _Rule:
    """`experts`: only the experts that a layer holds together are stored so."""

    layout: Layout
    scratch: Scratch = _none
    multiple: int = 0
    whole_groups: bool = True
    experts: bool = False


_RULES: Mapping[str, _Rule] = {
    "fp8": _Rule(_fp8, _fp8_input, whole_groups=False),
    "int8": _Rule(_int8, _int8_product),
    "torchao int8": _Rule(_rows_of_int8, _unpacked),
    "torchao int8 with inputs": _Rule(_rows_of_int8, _int8_product),
    "int4": _Rule(_int4, multiple=16),
    **dict.fromkeys(("nf4", "fp4"), _Rule(_nf4, _nf4_weight, whole_groups=False)),
    "mxfp4": _Rule(_mxfp4, experts=True),
    "awq": _Rule(_awq, _awq_product, multiple=8),
    "gptq": _Rule(_gptq, multiple=32),
}

#: Formats as their libraries make them without being told more.
USUAL: Mapping[str, Format] = {
    "fp8": Format("fp8", 8, 128),
    "int8": Format("int8", 8),
    "int4": Format("int4", 4, 128, zeros=True),
    "nf4": Format("nf4", 4, 64),
    "mxfp4": Format("mxfp4", 4, 32),
    "awq": Format("awq", 4, 128, zeros=True),
    "gptq": Format("gptq", 4, 128, zeros=True),
}
