"""What a training step is like: the choices that its memory depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelsum.errors import UsageError, one_of
from modelsum.memory.cpu.machine import ISAS
from modelsum.memory.ranks.mesh import CONTEXT, DATA, PIPELINE, REPLICATE, TENSOR, parse_mesh
from modelsum.spec import check_dtype, dtype_name, parse_object

#: AdamW with states of 8 bits: bitsandbytes' and torchao's.
EIGHT_BIT = ("bnb-adamw8bit", "torchao-adamw8bit")
#: Those whose step is known in closed form; that of torch's others is traced.
_CLOSED = ("none", "sgd", "momentum", "adam", "adamw", "adafactor", "lion", *EIGHT_BIT)
_TRACED = ("adadelta", "adagrad", "adamax", "asgd", "muon", "nadam", "radam", "rmsprop", "rprop")
OPTIMIZERS = (*_CLOSED, *_TRACED)
IMPLEMENTATIONS = ("for-loop", "foreach", "fused")
LOSSES = ("sum", "cross-entropy", "chunked-cross-entropy", "fused-cross-entropy")
ATTENTION = ("auto", "math", "flash", "efficient")
AMP = ("bf16", "fp16")
_AMP_OF = {"bfloat16": "bf16", "float16": "fp16"}
TARGETS = ("cpu", "cuda")
SHARD = ("ddp", "zero1", "zero2", "fsdp")
OFFLOAD = ("params", "optimizer")
CHECKPOINT_POLICIES = ("full", "ops")
_SHARD_WORDS = {
    "ddp": "replicas (DistributedDataParallel)",
    "zero1": "optimizer state sharded (DistributedDataParallel, ZeroRedundancyOptimizer)",
    "zero2": "state and gradients sharded, weights gathered until they are derived (fully_shard, no reshard)",
    "fsdp": "weights, gradients and state sharded (fully_shard)",
}

_OFFLOAD_WORDS = {
    "params": "shards of weights, their gradients and the optimizer on the host (CPUOffloadPolicy)",
    "optimizer": "the optimizer on the host, with a copy of weights and gradients",
}

#: Options that mean nothing without a mesh.
OF_A_MESH = ("shard", "reshard", "wrap", "param_dtype", "reduce_dtype", "parallelize")

_HAS_FUSED = ("none", "sgd", "momentum", "adam", "adamw")


@dataclass(frozen=True, slots=True)
class OwnOptimizer:
    """A user's optimizer, or one of torch's with other settings.

    Attributes:
        text: what it is called.
        make: makes it for a list of parameters.
    """

    text: str
    make: Callable[[Any], Any] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.text


#: What is assumed, in words, where nothing else is asked for or found: of no interest to most readers.
USUAL = {
    "gradients": "set to None before each step",
    "attention": "not used",
    "allocator": "default configuration",
    "kernels": "with workspaces of cuDNN's backward passes, without those of searches and cuBLAS",
}


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """The training step to predict.

    Attributes:
        optimizer: one of `OPTIMIZERS`; "momentum" is SGD with momentum, "muon" torch's Muon for matrices that
            are no embeddings and AdamW for the rest, "bnb-adamw8bit" and "torchao-adamw8bit" those packages'
            AdamW with states of 8 bits. All with their defaults. Or a class as `--arg` takes an object,
            like "nets.py:Lion(beta=0.9)", which is called with the parameters; or an `OwnOptimizer`.
        implementation: "for-loop", "foreach" or "fused"; None for what torch takes on the target without
            being told: for-loop on the CPU, foreach on CUDA.
        loss: "sum" of every output tensor, or "cross-entropy" of the first one; of a language model also
            "chunked-cross-entropy", in float32 of 8 parts of the tokens, or "fused-cross-entropy", of parts
            whose scores are made and derived one after the other, so that all are never there.
        attention: which kernel scaled_dot_product_attention runs; "auto" for the one the target would take.
        amp: "bf16" or "fp16" for automatic mixed precision: the model and the loss run under torch.autocast
            with that dtype, on weights in float32; fp16 with a gradient scaler. None for neither. Other words
            for these dtypes are read as them.
        checkpoint: patterns (fnmatch) of module paths whose activations are recomputed in the backward pass.
        freeze: patterns of module paths or parameter names that are not trained.
        accumulate: forward and backward passes before each optimizer step.
        weight_decay: the optimizer has one. Where it is added to the gradients (all but AdamW, Adafactor and
            Lion), foreach makes new ones of all of them, and a for-loop of one after the other.
        clip: the norm of all gradients together is clipped before the optimizer steps
            (torch.nn.utils.clip_grad_norm_).
        ema: a moving average of weights and buffers is kept beside them
            (torch.optim.swa_utils.AveragedModel).
        prefetch: batches that the data loader has put on the device already, besides the one that is used.
        cudnn_benchmark: torch.backends.cudnn.benchmark, on CUDA: cuDNN tries its algorithms at the first
            convolution of every shape, after which torch gives the allocator's cached blocks back.
        expandable_segments: the CUDA allocator's setting of this name.
        threads: of the CPU that memory is predicted for; None for those of torch here
            (torch.get_num_threads()). On CUDA nothing depends on them.
        isa: the instruction set of that CPU, one of `modelsum.memory.cpu.machine.ISAS`; None for this one's.
        checkpoint_policy: "full", or "ops" to keep the results of matmuls (every second one) and attention.
        mesh: the processes that share the step, "dp=8,tp=4" (modelsum.memory.ranks.mesh); the batch is that
            of each data parallel rank. None for one process.
        shard: one of `SHARD`: what the data parallel ranks share; None for "fsdp".
        reshard: fsdp gives gathered weights back after their forward; None for torch's default: all but the
            root's.
        wrap: patterns of the modules that fsdp shards on their own; the repeated blocks where there are none.
        param_dtype, reduce_dtype: what fsdp gathers weights and reduces gradients in; None for their own.
        offload: one of `OFFLOAD`: what the host holds, and sends to the device when it is used. "params" is
            FSDP2's CPUOffloadPolicy, "optimizer" an optimizer of the host's that has copies of weights and
            gradients. None for nothing.
        parallelize: "file.py:function", the user's own (model, mesh) -> model in place of all this.
        timeline_points: the most points that the timeline has.

    Raises UsageError for a word that is not one of those.
    """

    optimizer: str | OwnOptimizer = "adamw"
    implementation: str | None = None
    loss: str = "sum"
    attention: str = "auto"
    amp: str | None = None
    checkpoint: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    accumulate: int = 1
    weight_decay: bool = False
    clip: bool = False
    ema: bool = False
    prefetch: int = 0
    cudnn_benchmark: bool = False
    expandable_segments: bool = False
    threads: int | None = None
    isa: str | None = None
    timeline_points: int = 400
    checkpoint_policy: str = "full"
    mesh: str | None = None
    shard: str | None = None
    reshard: bool | None = None
    wrap: tuple[str, ...] = ()
    param_dtype: str | None = None
    reduce_dtype: str | None = None
    offload: str | None = None
    parallelize: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.optimizer, str) and not is_object(self.optimizer):
            one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("loss", self.loss, LOSSES)
        one_of("attention", self.attention, ATTENTION)
        if self.amp is not None:
            object.__setattr__(self, "amp", _AMP_OF.get(dtype_name(str(self.amp)), str(self.amp)))
            one_of("amp", self.amp, AMP)
        if self.implementation is not None:
            one_of("implementation", self.implementation, IMPLEMENTATIONS)
        if self.implementation is not None and not self.has_implementations:
            raise UsageError(
                f"{self.optimizer} has one implementation, its own", f"Leave out {self.implementation}."
            )
        if self.weight_decay and self.optimizer not in OPTIMIZERS:
            raise UsageError(
                f"{self.optimizer} has settings of its own", "Give it one there: Lion(weight_decay=0.1)."
            )
        if self.implementation == "fused" and self.optimizer not in _HAS_FUSED:
            raise UsageError(f"{self.optimizer} has no fused implementation", "Use for-loop or foreach.")
        if self.accumulate < 1:
            raise UsageError(f"accumulate {self.accumulate}: at least 1 pass goes before an optimizer step")
        if self.prefetch < 0:
            raise UsageError(f"prefetch {self.prefetch}: batches on the device cannot be fewer than none")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads {self.threads}: a kernel runs on 1 or more")
        if self.isa is not None:
            one_of("isa", self.isa, ISAS)
        if self.timeline_points < 2:
            raise UsageError(f"timeline_points {self.timeline_points}: a timeline has at least 2 points")
        one_of("checkpoint_policy", self.checkpoint_policy, CHECKPOINT_POLICIES)
        if self.offload is not None:
            self._check_offload(self.offload)
        self._check_ranks()

    def _check_offload(self, offload: str) -> None:
        """Refuse what cannot be held by the host."""
        one_of("offload", offload, OFFLOAD)
        if offload == "params" and (self.mesh is None or self.parallelize is not None):
            raise UsageError("offload params is of fsdp", "Say how many: mesh dp=8; or offload optimizer.")
        if offload == "params" and self.shards not in ("fsdp", "zero2"):
            raise UsageError(f"offload params is of fsdp, not of {self.shards}", "Say offload optimizer.")
        if not self.in_closed_form or self.optimizer in EIGHT_BIT:
            raise UsageError(
                f"offload is not known with {self.optimizer}", "Say adamw, adam, sgd or momentum."
            )
        if self.implementation == "fused":
            raise UsageError("offload steps on the host, where fused is of CUDA here", "Leave fused out.")
        if self.amp == "fp16":
            raise UsageError(
                "offload and amp fp16: its scaler reads gradients on the device", "Say amp bf16."
            )

    def _check_ranks(self) -> None:
        """Refuse what no training step of several processes is like."""
        for name in ("param_dtype", "reduce_dtype"):
            if (dtype := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_dtype(str(dtype)))
        if self.shard is not None:
            one_of("shard", self.shard, SHARD)
        ways = {name: getattr(self, name) for name in OF_A_MESH if getattr(self, name) not in (None, ())}
        if self.mesh is None:
            for name in ways:
                raise UsageError(f"{name} is of several processes", "Say how many: mesh dp=8.")
            return
        mesh = parse_mesh(self.mesh)
        object.__setattr__(self, "mesh", mesh.words)
        if mesh[CONTEXT] > 1 and mesh[PIPELINE] > 1:
            raise UsageError("cp and pp together are not known here", "Leave one of them out.")
        if self.parallelize is not None:
            for name in ways:
                if name != "parallelize":
                    raise UsageError(f"{name} and parallelize are both given", "The function does it all.")
            return
        if self.shards not in ("fsdp", "zero2"):
            for name in ("reshard", "wrap", "param_dtype", "reduce_dtype"):
                if name in ways:
                    raise UsageError(f"{name} is of fsdp, not of {self.shards}", "Say shard fsdp.")
            if mesh[REPLICATE] > 1:
                raise UsageError(f"{self.shards} has no replicas of shards", "Say shard fsdp, or dp alone.")
            if mesh[CONTEXT] > 1:
                raise UsageError(
                    f"{self.shards} has no parts of sequences", "Say shard fsdp, or leave cp out."
                )
            if mesh[TENSOR] > 1 and mesh[DATA] > 1:
                raise UsageError(f"{self.shards} takes no tensors that are parts already", "Say shard fsdp.")
        if self.offload == "params" and mesh[DATA] * mesh[REPLICATE] * mesh[CONTEXT] == 1:
            raise UsageError(
                "offload params is of what is sharded among dp", "Say dp=N, or offload optimizer."
            )
        if self.shards == "zero1" and not self.in_closed_form:
            raise UsageError(f"zero1 is not known with {self.optimizer}", "Say adamw, adam, sgd or momentum.")
        if self.shards == "zero2" and self.reshard is not None:
            raise UsageError("zero2 keeps gathered weights: it is fsdp without reshard", "Say shard fsdp.")

    @property
    def shards(self) -> str:
        """What the data parallel ranks of a mesh share, one of `SHARD`."""
        return self.shard or "fsdp"

    @property
    def is_shared(self) -> bool:
        """Whether several processes share the step, or the user's own function arranges them."""
        return self.mesh is not None and (parse_mesh(self.mesh).ranks > 1 or self.parallelize is not None)

    @property
    def in_closed_form(self) -> bool:
        """Whether what the optimizer's step allocates is known without tracing it."""
        return self.optimizer in _CLOSED

    @property
    def has_implementations(self) -> bool:
        """Whether the optimizer may be a for-loop, foreach or fused."""
        return self.optimizer in OPTIMIZERS and self.optimizer not in EIGHT_BIT

    def implementation_on(self, target: str) -> str:
        """The implementation, by default the one that torch.optim takes for the target's tensors."""
        on_device = target == "cuda" and self.offload is None
        return self.implementation or ("foreach" if on_device else "for-loop")

    def words(self, target: str) -> dict[str, str]:
        """The training step for a reader, by name: optimizer, loss, and what else was chosen."""
        optimizer = self._optimizer_words(target)
        said = {"loss": self.loss, "optimizer": optimizer, "gradients": USUAL["gradients"]}
        if self.amp:
            scaled = ", gradients scaled" if self.amp == "fp16" else ""
            said["amp"] = f"{self.amp} autocast, weights in float32{scaled}"
        if self.accumulate > 1:
            said["accumulate"] = f"{self.accumulate} passes"
        if self.clip:
            said["clip"] = "the norm of all gradients"
        if self.ema:
            said["ema"] = "of weights and buffers"
        if self.prefetch:
            said["prefetch"] = f"{self.prefetch} more batch{'es' if self.prefetch > 1 else ''} on the device"
        if self.offload:
            said["offload"] = _OFFLOAD_WORDS[self.offload]
        if self.cudnn_benchmark and target == "cuda":
            said["cudnn"] = "benchmark"
        for name, patterns in (("checkpoint", self.checkpoint), ("freeze", self.freeze)):
            if patterns:
                said[name] = ", ".join(patterns)
        if self.checkpoint and self.checkpoint_policy == "ops":
            said["checkpoint"] += ", results of attention and of every second matmul kept"
        return said | (self._words_of_ranks() if self.is_shared else {})

    def _words_of_ranks(self) -> dict[str, str]:
        said = {"mesh": str(self.mesh), "batch": "of each data parallel rank"}
        said["communication"] = "volumes of a ring, without NCCL's own buffers"
        if self.parallelize is not None:
            return said | {"parallelize": self.parallelize}
        said["shard"] = _SHARD_WORDS[self.shards]
        if self.reshard is not None:
            said["reshard"] = "after every forward" if self.reshard else "after the backward pass alone"
        for name in ("param_dtype", "reduce_dtype"):
            if (dtype := getattr(self, name)) is not None:
                said[name.replace("_", " ")] = dtype
        return said

    def _optimizer_words(self, target: str) -> str:
        name = str(self.optimizer)
        if name == "none" or name not in OPTIMIZERS:
            return name
        how = [self.implementation_on(target)] if self.has_implementations else []
        how.append("weight decay" if self.weight_decay else "default settings")
        rest = " for matrices that are no embeddings, adamw for the rest" if name == "muon" else ""
        return f"{name} ({', '.join(how)}){rest}"


def is_object(optimizer: str) -> bool:
    """Whether a text stands for a user's class. Raises ArgumentError where its arguments cannot be read."""
    return parse_object(optimizer, f"optimizer {optimizer!r}") is not None


def check_target(target: str) -> str:
    """The target if it is one. Raises UsageError."""
    return one_of("target", target, TARGETS)
