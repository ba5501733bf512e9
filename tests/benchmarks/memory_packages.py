"""Models of many packages: predicted memory beside real training steps on the CPU.

    python tests/benchmarks/memory_packages.py [NAME...] [--runs FILE] [--output FILE.md]

Needs what `PACKAGES` names, installed beside the project; what is missing is left out and said. Small batches
and images: a minute or two in all. Inference, then two training steps with AdamW, under the profiler, whose
records of the CPU allocator add up to the live bytes (tests/real_cpu.py). With --runs FILE every row is kept
there as it is done, and is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import torch  # noqa: E402
from real_cpu import real_peaks  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import modelsum  # noqa: E402
from modelsum.trace.holders import tensors_in  # noqa: E402

THREADS = 2
Made = tuple[nn.Module, tuple[Any, ...]]


def images(n: int = 2, size: int = 64, channels: int = 3) -> Tensor:
    return torch.rand(n, channels, size, size)


def ids(n: int = 2, length: int = 48, tokens: int = 500) -> Tensor:
    return torch.randint(1, tokens, (n, length))


def torchvision(name: str, **arguments: Any) -> Made:
    from torchvision.models import get_model

    return get_model(name, weights=None, **arguments), (images(),)


def timm(name: str, **arguments: Any) -> Made:
    import timm

    return timm.create_model(name, pretrained=False, **arguments), (images(),)


def transformers(kind: str, **config: Any) -> Made:
    import transformers

    made = getattr(transformers, f"{kind}Config")(vocab_size=500, **config)
    return Only(getattr(transformers, f"{kind}Model")(made)), (ids(),)


class Only(nn.Module):
    """The first result of a model: what a loss is made of."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any) -> Tensor:
        return next(tensors_in(self.model(*args)))


def graph(name: str) -> Made:
    import torch_geometric.nn

    edges = torch.randint(0, 300, (2, 1200))
    return getattr(torch_geometric.nn, name)(32, 64, 3, 8), (torch.rand(300, 32), edges)


def segmentation(name: str) -> Made:
    import segmentation_models_pytorch

    return getattr(segmentation_models_pytorch, name)("resnet18", encoder_weights=None), (images(),)


def efficientnet() -> Made:
    from efficientnet_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-b0"), (images(),)


def monai_unet() -> Made:
    from monai.networks.nets import UNet

    return UNet(3, 1, 2, channels=(8, 16, 32), strides=(2, 2), num_res_units=1), (
        torch.rand(1, 1, 16, 24, 24),
    )


def monai_vit() -> Made:
    from monai.networks.nets import ViT

    model = ViT(1, (32, 32, 32), (8, 8, 8), 96, 192, 3, 4)
    return Only(model), (torch.rand(2, 1, 32, 32, 32),)


def x_transformer() -> Made:
    from x_transformers import Decoder, TransformerWrapper

    return TransformerWrapper(
        num_tokens=500, max_seq_len=64, attn_layers=Decoder(dim=128, depth=3, heads=4)
    ), (ids(),)


def vit_pytorch(module: str, name: str, **arguments: Any) -> Made:
    import importlib

    kind = getattr(importlib.import_module(f"vit_pytorch.{module}"), name)
    return kind(image_size=64, num_classes=10, **arguments), (images(),)


def open_clip() -> Made:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    seen = CLIPVisionCfg(layers=2, width=128, head_width=32, patch_size=16, image_size=64)
    read = CLIPTextCfg(context_length=32, vocab_size=500, width=128, heads=4, layers=2)
    return CLIP(64, seen, read), (images(), ids(2, 32))


def performer() -> Made:
    from performer_pytorch import Performer

    return Performer(dim=128, depth=2, heads=4, dim_head=32, causal=False), (torch.rand(2, 64, 128),)


def linformer() -> Made:
    from linformer import Linformer

    return Linformer(dim=128, seq_len=64, depth=2, heads=4, k=16), (torch.rand(2, 64, 128),)


def conformer() -> Made:
    from conformer import Conformer

    return Conformer(dim=64, depth=2, dim_head=16, heads=4), (torch.rand(2, 48, 64),)


def perceiver() -> Made:
    from perceiver_pytorch import PerceiverIO

    model = PerceiverIO(dim=32, queries_dim=32, depth=2, num_latents=16, latent_dim=64, latent_heads=2)
    return model, (torch.rand(2, 64, 32),)


def nystrom() -> Made:
    from nystrom_attention import Nystromformer

    return Nystromformer(dim=64, depth=2, heads=4, dim_head=16, num_landmarks=16), (torch.rand(2, 64, 64),)


def kornia() -> Made:
    from kornia.feature import HardNet

    return HardNet(pretrained=False), (images(8, 32, 1),)


def resnest() -> Made:
    from resnest.torch import resnest50

    return resnest50(pretrained=False), (images(),)


def pretrained() -> Made:
    import pretrainedmodels

    return pretrainedmodels.se_resnet50(pretrained=None, num_classes=1000), (images(2, 224),)


def diffusers() -> Made:
    from diffusers import UNet2DModel

    blocks = {
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    model = UNet2DModel(sample_size=16, block_out_channels=(32, 64), layers_per_block=1, **blocks)
    return Only(model), (images(2, 16), torch.tensor(7))


def lightly() -> Made:
    from lightly.models.modules.heads import DINOProjectionHead
    from torchvision.models import resnet18

    backbone = nn.Sequential(*list(resnet18().children())[:-1], nn.Flatten())
    return nn.Sequential(backbone, DINOProjectionHead(512, 256, 64, 512)), (images(4),)


def pytorchvideo() -> Made:
    from pytorchvideo.models.x3d import create_x3d

    return create_x3d(input_clip_length=4, input_crop_size=64, model_num_class=10), (
        torch.rand(2, 3, 4, 64, 64),
    )


def torchaudio(name: str) -> Made:
    import torchaudio

    if name == "Conformer":
        model = torchaudio.models.Conformer(64, 4, 128, 2, 15)
        return Only(model), (torch.rand(2, 50, 64), torch.tensor([50, 40]))
    return torchaudio.models.Wav2Letter(num_classes=20, input_type="mfcc", num_features=13), (
        torch.rand(2, 13, 200),
    )


def peft() -> Made:
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=500, n_embd=128, n_layer=3, n_head=4, n_positions=64))
    return Only(get_peft_model(model, LoraConfig(r=8, target_modules=["c_attn"]))), (ids(),)


def plain() -> Made:
    model = nn.Transformer(64, 4, 2, 2, 128, batch_first=True)
    return model, (torch.rand(2, 32, 64), torch.rand(2, 24, 64))


#: By package and model.
MODELS: dict[str, Callable[[], Made]] = {
    "torch nn.Transformer": plain,
    "torchvision resnet18": lambda: torchvision("resnet18"),
    "torchvision mobilenet_v3_small": lambda: torchvision("mobilenet_v3_small"),
    "torchvision shufflenet_v2_x0_5": lambda: torchvision("shufflenet_v2_x0_5"),
    "torchvision swin_t": lambda: torchvision("swin_t"),
    "timm vit_tiny_patch16": lambda: timm("vit_tiny_patch16_224", img_size=64),
    "timm mixer_s32": lambda: timm("mixer_s32_224", img_size=64),
    "timm convnext_atto": lambda: timm("convnext_atto"),
    "timm coat_lite_tiny": lambda: timm("coat_lite_tiny", img_size=64),
    "transformers bert": lambda: transformers(
        "Bert", hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256
    ),
    "transformers gpt2": lambda: transformers("GPT2", n_embd=128, n_layer=3, n_head=4),
    "transformers llama": lambda: transformers(
        "Llama", hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256
    ),
    "peft gpt2 with LoRA": peft,
    "torch_geometric GCN": lambda: graph("GCN"),
    "torch_geometric GAT": lambda: graph("GAT"),
    "torch_geometric GraphSAGE": lambda: graph("GraphSAGE"),
    "segmentation_models_pytorch Unet": lambda: segmentation("Unet"),
    "segmentation_models_pytorch FPN": lambda: segmentation("FPN"),
    "efficientnet_pytorch b0": efficientnet,
    "monai UNet": monai_unet,
    "monai ViT": monai_vit,
    "x_transformers Decoder": x_transformer,
    "vit_pytorch SimpleViT": lambda: vit_pytorch(
        "simple_vit", "SimpleViT", patch_size=8, dim=96, depth=3, heads=4, mlp_dim=192
    ),
    "vit_pytorch ViT": lambda: vit_pytorch("vit", "ViT", patch_size=8, dim=96, depth=3, heads=4, mlp_dim=192),
    "open_clip CLIP": open_clip,
    "performer_pytorch Performer": performer,
    "linformer Linformer": linformer,
    "conformer Conformer": conformer,
    "perceiver_pytorch PerceiverIO": perceiver,
    "nystrom_attention Nystromformer": nystrom,
    "kornia HardNet": kornia,
    "resnest resnest50": resnest,
    "pretrainedmodels se_resnet50": pretrained,
    "diffusers UNet2DModel": diffusers,
    "lightly DINO head on resnet18": lightly,
    "pytorchvideo x3d": pytorchvideo,
    "torchaudio Conformer": lambda: torchaudio("Conformer"),
    "torchaudio Wav2Letter": lambda: torchaudio("Wav2Letter"),
}


def first(output: Any) -> Tensor:
    """The sum of all results that can be trained, as the predicted step has it."""
    found = [t for t in tensors_in(output) if t.requires_grad]
    total = found[0].sum()
    for tensor in found[1:]:
        total = total + tensor.sum()
    return total


def measured(name: str) -> dict[str, Any]:
    """A row: what is predicted, what is real, and how long the prediction took."""
    torch.manual_seed(0)
    model, args = MODELS[name]()
    model.train()
    began = time.perf_counter()
    memory = modelsum.summarize(model, *args, target="cpu", optimizer="adamw", foreach=False).memory
    seconds = time.perf_counter() - began
    assert memory is not None
    real = real_peaks(model, args, first, lambda p: torch.optim.AdamW(p, lr=0.0, foreach=False))
    convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in model.modules())
    return {
        "name": name,
        "inference": [memory.inference_peak_bytes, real.inference],
        "training": [memory.training_peak_bytes, real.training],
        "bound": memory.bound,
        "unmeasured": dict(memory.unmeasured),
        "convolves": convolves,
        "seconds": round(seconds, 2),
    }


def rows(names: list[str], kept: Path | None) -> Iterator[dict[str, Any]]:
    """Every model's row; those that are kept are not made again."""
    there: dict[str, Any] = {}
    if kept is not None and kept.exists():
        there = {row["name"]: row for row in map(json.loads, kept.read_text().splitlines())}
    for name in names or MODELS:
        if name not in there:
            try:
                there[name] = measured(name)
            except ImportError as missing:
                print(f"{name} is left out: {missing}", file=sys.stderr)
                continue
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps(there[name]) + "\n")
            print(json.dumps(there[name]), file=sys.stderr, flush=True)
        yield there[name]


def error(pair: list[int]) -> float:
    """Of a prediction beside the real peak, in per cent."""
    return 100 * (pair[0] / pair[1] - 1)


def as_markdown(found: list[dict[str, Any]]) -> str:
    """The report."""
    exact = [row for row in found if row["bound"] == "exact"]
    close = [row for row in exact if abs(error(row["training"])) <= 0.5]
    bounded = [row for row in found if row["bound"] == "lower"]
    packages = {row["name"].split()[0] for row in found}
    isa = torch.backends.cpu.get_cpu_capability()
    still = [row for row in exact if not row["convolves"]]
    near = f"{len(close)} are within 0.5 %"
    lines = [
        "# Models of many packages: predicted memory and real training steps on the CPU",
        "",
        f"By tests/benchmarks/memory_packages.py, torch {torch.__version__}, {THREADS} threads, AdamW.",
        f"{len(found)} models of {len(packages)} packages: {len(bounded)} are told as lower bounds; of the",
        f"training peaks of the {len(exact)} others {near}. The CPU has {isa}. Of those {len(still)}",
        f"that do not convolve, {sum(row in close for row in still)} are within 0.5 %.",
        "",
        "| model | convolves | told as | inference, MiB | error | training, MiB | error |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        told = "exact" if row["bound"] == "exact" else "at least: " + ", ".join(row["unmeasured"])
        cells = [f"{row[k][1] / 2**20:.2f} | {error(row[k]):+.3f} %" for k in ("inference", "training")]
        lines.append(
            f"| {row['name']} | {'yes' if row['convolves'] else ''} | {told} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "memory-packages.md")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    found = list(rows(asked.names, asked.runs))
    asked.output.write_text(as_markdown(found))


if __name__ == "__main__":
    main()
