"""What a training step is like: the choices that its memory depends on."""

from __future__ import annotations

from dataclasses import dataclass

from modelsum.errors import UsageError, valid_words
from modelsum.spec import dtype_name

OPTIMIZERS = ("none", "sgd", "momentum", "adam", "adamw", "adafactor", "lion")
IMPLEMENTATIONS = ("for-loop", "foreach", "fused")
LOSSES = ("sum", "cross-entropy")
ATTENTION = ("auto", "math", "flash", "efficient")
AMP = ("bf16", "fp16")
_AMP_OF = {"bfloat16": "bf16", "float16": "fp16"}
TARGETS = ("cpu", "cuda")

_NOT_IN_TORCH = {("adafactor", "fused"), ("lion", "fused")}


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """The training step to predict.

    Attributes:
        optimizer: one of `OPTIMIZERS`; "momentum" is SGD with momentum. All with torch's defaults.
        implementation: "for-loop", "foreach" or "fused"; None for what torch takes on the target without
            being told: for-loop on the CPU, foreach on CUDA.
        loss: "sum" of every output tensor, or "cross-entropy" of the first one.
        attention: which kernel scaled_dot_product_attention runs; "auto" for the one the target would take.
        amp: "bf16" or "fp16" for automatic mixed precision: the model and the loss run under torch.autocast
            with that dtype, on weights in float32; fp16 with a gradient scaler. None for neither. Other words
            for these dtypes are read as them.
        checkpoint: patterns (fnmatch) of module paths whose activations are recomputed in the backward pass.
        freeze: patterns of module paths or parameter names that are not trained.
        accumulate: forward and backward passes before each optimizer step.
        weight_decay: the optimizer has one. Where it is added to the gradients (all but AdamW, Adafactor and
            Lion), foreach makes new ones of all of them, and a for-loop of one after the other.
        prefetch: batches that the data loader has put on the device already, besides the one that is used.
        cudnn_benchmark: torch.backends.cudnn.benchmark, on CUDA: cuDNN tries its algorithms at the first
            convolution of every shape, after which torch gives the allocator's cached blocks back.
        expandable_segments: the CUDA allocator's setting of this name.
        timeline_points: the most points that the timeline has.

    Raises UsageError for a word that is not one of those.
    """

    optimizer: str = "adamw"
    implementation: str | None = None
    loss: str = "sum"
    attention: str = "auto"
    amp: str | None = None
    checkpoint: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    accumulate: int = 1
    weight_decay: bool = False
    prefetch: int = 0
    cudnn_benchmark: bool = False
    expandable_segments: bool = False
    timeline_points: int = 400

    def __post_init__(self) -> None:
        _check("optimizer", self.optimizer, OPTIMIZERS)
        _check("loss", self.loss, LOSSES)
        _check("attention", self.attention, ATTENTION)
        if self.amp is not None:
            object.__setattr__(self, "amp", _AMP_OF.get(dtype_name(str(self.amp)), str(self.amp)))
            _check("amp", self.amp, AMP)
        if self.implementation is not None:
            _check("implementation", self.implementation, IMPLEMENTATIONS)
        if (self.optimizer, self.implementation) in _NOT_IN_TORCH:
            raise UsageError(f"{self.optimizer} has no fused implementation", "Use for-loop or foreach.")
        if self.accumulate < 1:
            raise UsageError(f"accumulate {self.accumulate}: at least 1 pass goes before an optimizer step")
        if self.prefetch < 0:
            raise UsageError(f"prefetch {self.prefetch}: batches on the device cannot be fewer than none")
        if self.timeline_points < 2:
            raise UsageError(f"timeline_points {self.timeline_points}: a timeline has at least 2 points")

    def implementation_on(self, target: str) -> str:
        """The implementation, by default the one that torch.optim takes for the target's tensors."""
        return self.implementation or ("foreach" if target == "cuda" else "for-loop")

    def words(self, target: str) -> dict[str, str]:
        """The training step for a reader, by name: optimizer, loss, and what else was chosen."""
        said = {"loss": self.loss, "optimizer": self.optimizer, "gradients": "set to None before each step"}
        if self.optimizer != "none":
            decay = "weight decay" if self.weight_decay else "default settings"
            said["optimizer"] += f" ({self.implementation_on(target)}, {decay})"
        if self.amp:
            scaled = ", gradients scaled" if self.amp == "fp16" else ""
            said["amp"] = f"{self.amp} autocast, weights in float32{scaled}"
        if self.accumulate > 1:
            said["accumulate"] = f"{self.accumulate} passes"
        if self.prefetch:
            said["prefetch"] = f"{self.prefetch} more batch{'es' if self.prefetch > 1 else ''} on the device"
        if self.cudnn_benchmark and target == "cuda":
            said["cudnn"] = "benchmark"
        for name, patterns in (("checkpoint", self.checkpoint), ("freeze", self.freeze)):
            if patterns:
                said[name] = ", ".join(patterns)
        return said


def check_target(target: str) -> str:
    """The target if it is one. Raises UsageError."""
    return _check("target", target, TARGETS)


def _check(name: str, word: str, valid: tuple[str, ...]) -> str:
    if word not in valid:
        raise UsageError(f"{name} {word!r} is not known", valid_words(word, valid))
    return word
