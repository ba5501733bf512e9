"""The models of versions.py: thirty of all kinds, none from a package with a version of its own.

    python tests/benchmarks/version_models.py      # their figures in this Python and torch, as JSON

Torch's version is to be the only thing that changes, so timm and transformers are left out; torchvision
belongs to torch. What other tests derive by hand or read in papers is taken where it can be: the documented
models, torchvision's, and `tests/cases`.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from memory_models import OWN
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CASES = Path(__file__).parents[1] / "cases"


@dataclass(frozen=True)
class Question:
    """One call of `modelsum.summarize`: the model, a name or made anew; its inputs; what else is said.

    `unlike` says why this torch really takes other memory for the model than the one of the stored figures.
    """

    model: str | Callable[[], nn.Module]
    inputs: Callable[[], tuple[Any, ...]] = tuple
    kwargs: Callable[[], Mapping[str, Any]] = dict
    options: Mapping[str, Any] = field(default_factory=dict)
    unlike: Callable[[], str | None] = lambda: None


class Together(nn.Module):
    """A model that is one function of the modules it holds and its inputs."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, *inputs: Any) -> Any:
        return self.function(*self.parts, *inputs)


def grouped_query() -> nn.Module:
    """Causal attention of 8 heads of queries over 2 of keys and values."""

    def attend(q: nn.Module, kv: nn.Module, out: nn.Module, x: Tensor) -> Tensor:
        n, length, width = x.shape
        queries = q(x).view(n, length, 8, 8).transpose(1, 2)
        keys, values = kv(x).view(n, length, 4, 8).transpose(1, 2).chunk(2, dim=1)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=True
        )
        return out(attended.transpose(1, 2).reshape(n, length, width))

    return Together(attend, nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(64, 64))


def checkpointed() -> nn.Module:
    """Four residual blocks, each computed again in the backward pass."""

    def forward(*parts: Any) -> Tensor:
        *blocks, x = parts
        for block in blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        return x

    blocks = (nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(4))
    return Together(forward, *blocks)


def packed_gru() -> nn.Module:
    """A GRU over sequences of several lengths."""

    def forward(gru: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(gru(packed)[0], batch_first=True)[0]

    return Together(forward, nn.GRU(16, 24, batch_first=True))


def decoder() -> nn.Module:
    layer = nn.TransformerDecoderLayer(64, 4, 128, batch_first=True)
    return nn.TransformerDecoder(layer, 2)


def mixed_norms() -> nn.Module:
    """Normalisations, activations and poolings that differ in what they save."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.GroupNorm(4, 32),
        nn.SiLU(),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(32, 32, 3, groups=32, padding=1)),
        nn.InstanceNorm2d(32, affine=True),
        nn.Hardswish(),
        nn.AvgPool2d(2),
        nn.Conv2d(32, 64, 1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(inplace=True),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(256, 32),
        nn.LayerNorm(32),
        nn.RMSNorm(32),
        nn.Linear(32, 10),
    )


def volume() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 8, 3), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 16, 3, stride=2))


def sounds() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 16, 9, stride=4), nn.ELU(), nn.Conv1d(16, 32, 5, dilation=2), nn.Tanh(), nn.MaxPool1d(4)
    )


def bags() -> nn.Module:
    """Bags of words, summed, then classified."""
    return nn.Sequential(nn.EmbeddingBag(500, 32, mode="sum"), nn.ReLU(), nn.Linear(32, 4))


# ---- what torch itself does otherwise in some versions; asked of the torch that is here


def shares_no_keys() -> str | None:
    query, key = torch.empty(1, 2, 1, 8), torch.empty(1, 1, 1, 8)
    if torch._fused_sdp_choice(query, key, key, None, 0.0, False, scale=None, enable_gqa=True):
        return None
    return "this torch's fused attention on the CPU does not share keys among queries"


def fuses_no_rms_norm() -> str | None:
    fused = getattr(torch.ops.aten, "_fused_rms_norm", None)  # that of torch 2.8 is another, with one result
    if fused is not None and len(fused.default._schema.returns) == 2:
        return None
    return "this torch has no fused kernel for RMSNorm"


def _image(size: int = 64, batch: int = 2) -> Callable[[], tuple[Tensor]]:
    return lambda: (torch.zeros(batch, 3, size, size),)


def _of(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], tuple[Tensor]]:
    return lambda: (torch.zeros(shape, dtype=dtype),)


def _own(name: str, **options: Any) -> Question:
    build, example, loss = OWN[name]
    return Question(build, lambda: (example(2),), options={"loss": loss, **options})


def _torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name, weights=None, **options)

    return build


def case(name: str) -> ModuleType:
    """One of `tests/cases`, whose parameters and MACs are derived in its docstring."""
    found = importlib.util.spec_from_file_location(f"case_{name}", CASES / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _case(name: str) -> Question:
    module = case(name)
    args, kwargs = module.example()
    return Question(module.build, lambda: args, lambda: kwargs)


def questions() -> dict[str, Question]:
    """All of them, by name."""
    return {
        # documented: parameters and MACs are those of their papers or of torchvision
        "resnet50": Question("resnet50"),
        "mobilenet_v2": Question("mobilenet_v2"),
        "densenet121": Question("densenet121"),
        "vgg16": Question("vgg16"),
        "squeezenet1_1": Question("squeezenet1_1"),
        "mnasnet0_5": Question("mnasnet0_5"),
        "resnet50, Adam, autocast": Question(
            "resnet50", options={"batch": 4, "optimizer": "adam", "amp": "bf16"}
        ),
        "resnet50, checkpointed": Question("resnet50", options={"checkpoint": ["layer*.?"], "accumulate": 2}),
        "vit_b_16": Question(_torchvision("vit_b_16"), _image(224, 1)),
        "swin_t": Question(_torchvision("swin_t"), _image(224, 1)),
        # attention
        "gpt": _own("gpt"),
        "gpt, autocast, fused": _own("gpt", amp="bf16", optimizer="adamw", fused=True),
        "grouped queries": Question(grouped_query, _of(2, 16, 64), unlike=shares_no_keys),
        "bf16 attention": Question(
            lambda: grouped_query().bfloat16(),
            _of(2, 16, 64, dtype=torch.bfloat16),
            unlike=shares_no_keys,
        ),
        "encoder layer": Question(
            lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), _of(2, 16, 64)
        ),
        "decoder": Question(decoder, lambda: (torch.zeros(2, 12, 64), torch.zeros(2, 16, 64))),
        "07_multihead_attention": _case("07_multihead_attention"),
        "37_functional_attention": _case("37_functional_attention"),
        # recurrent, and looking things up
        "bidirectional_lstm": _own("bidirectional_lstm"),
        "packed GRU": Question(packed_gru, lambda: (torch.zeros(3, 9, 16), torch.tensor([9, 5, 2]))),
        "11_integer_ids": _case("11_integer_ids"),
        "bags": Question(bags, _of(8, 20, dtype=torch.int64)),
        "01_tied_weights": _case("01_tied_weights"),
        # convolutions, norms, and ways to train
        "unet": _own("unet"),
        "volume": Question(volume, _of(2, 1, 12, 12, 12)),
        "sounds": Question(sounds, _of(2, 1, 400)),
        "mixed norms": Question(
            mixed_norms,
            _image(16),
            options={"optimizer": "adam", "foreach": False},
            unlike=fuses_no_rms_norm,
        ),
        "29_bfloat16_model": _case("29_bfloat16_model"),
        "20_partly_frozen_layers": _case("20_partly_frozen_layers"),
        "checkpointed blocks": Question(checkpointed, _of(4, 16, 64)),
    }


def figures(question: Question) -> dict[str, int | str | None]:
    """Parameters, MACs, and for each target what is saved and the two peaks; or an error's words."""
    import modelsum

    found: dict[str, int | str | None] = {}
    for target in ("cuda", "cpu"):
        model = question.model if isinstance(question.model, str) else question.model()
        try:
            options = {"isa": "avx512", **question.options}  # the CPU that the stored figures are of
            summary = modelsum.summarize(
                model, *question.inputs(), kwargs=question.kwargs(), target=target, **options
            )
        except Exception as error:  # the others have figures all the same
            return {**found, "error": f"{type(error).__name__}: {error}"}
        said = summary.to_dict()
        found |= {"params": said["totals"]["params"], "macs": said["totals"]["macs"]}
        for name, key in MEMORY.items():
            found[f"{target} {name}"] = said["memory"][key]
    return found


MEMORY = {
    "saved": "saved_for_backward_bytes",
    "inference peak": "inference_peak_bytes",
    "training peak": "training_peak_bytes",
}


def main() -> None:
    """Print the figures of all of them, and why some are to differ from those of another torch."""
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(2)  # the CPU's kernels take scratch memory for each
    asked = questions()
    unlike = {name: reason for name, question in asked.items() if (reason := question.unlike())}
    json.dump({"figures": {name: figures(q) for name, q in asked.items()}, "unlike": unlike}, sys.stdout)


if __name__ == "__main__":
    main()
