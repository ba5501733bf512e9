"""modelsum beside torchinfo, fvcore, ptflops, thop and torchsummary: the same models, the same machine.

    python tests/benchmarks/compare_tools.py [PATTERN...] [--output FOLDER]   # -> reports/tools.csv, tools.md

Each tool is called as its README says, on a fresh model in eval mode on the CPU, with the arguments of one
call. A tool works in a process of its own, which is replaced when it dies or overruns its time. A tool that
is not installed is left out with a line that says so:

    pip install torchinfo torchsummary fvcore ptflops thop

The truth is none of the tools' answer: EXPECTED of tests/cases; the published counts in tests/oracles for
torchvision and timm; for the small transformers, the elements of the unique parameters and half of what
torch.utils.flop_counter counts with attention and experts written out.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fnmatch
import functools
import gc
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import resource
import select
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from tools import TOOLS, NotForIt, ReportedError, with_flop_counter  # noqa: E402

ORACLES = ROOT / "tests" / "oracles"
MEMORY_BYTES = 12 * 2**30  # of address space; the libraries alone take about a third
SECONDS = 60  # the most that a tool may take for one model
CLOSE = 0.02  # the relative error of MACs that a convention may explain
ROUNDED = 0.001  # the relative error of MACs that is not held against a tool where the truth is rounded

Call = tuple[tuple[Any, ...], dict[str, Any]]


# ---- the models


@dataclass(frozen=True)
class Subject:
    """A model, one call of it, and what is true of them.

    Attributes:
        build: makes the model.
        call: makes the arguments (args, kwargs) of its forward.
        params: the elements of its unique parameters.
        macs: its multiply-accumulates in this call; None where nobody knows them.
        rounding: half a unit of the last digit that `macs` was published with.
    """

    group: str
    name: str
    build: Callable[[], nn.Module]
    call: Callable[[], Call]
    params: int | None = None
    macs: float | None = None
    rounding: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.group}/{self.name}"


def subjects() -> list[Subject]:
    """Every model whose library is installed."""
    found = list(case_subjects())
    for library, make in (
        ("torchvision", torchvision_subjects),
        ("timm", timm_subjects),
        ("transformers", transformers_subjects),
    ):
        if importlib.util.find_spec(library):
            found += make()
        else:
            print(f"{library} is not installed: its models are left out", file=sys.stderr)
    return found


def case_subjects() -> Iterator[Subject]:
    """The thirty models of tests/cases."""
    for file in sorted((ROOT / "tests" / "cases").glob("[0-9]*.py")):
        spec = importlib.util.spec_from_file_location(f"case_{file.stem}", file)
        assert spec
        assert spec.loader
        case = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(case)
        expected = case.EXPECTED
        yield Subject(
            "cases", file.stem, case.build, case.example, expected["total_params"], expected["macs"]
        )


TORCHVISION = """
    alexnet convnext_tiny deeplabv3_mobilenet_v3_large densenet121 efficientnet_b0 efficientnet_v2_s
    googlenet inception_v3 lraspp_mobilenet_v3_large maxvit_t mnasnet1_0 mobilenet_v2 mobilenet_v3_small
    r3d_18 raft_small regnet_y_400mf resnet50 resnext50_32x4d s3d shufflenet_v2_x0_5 squeezenet1_1 swin3d_t
    swin_t swin_v2_t vgg11_bn vit_b_16 vit_b_32
"""
TIMM = """
    cait_xxs24_224 coat_lite_mini coatnet_rmlp_nano_rw_224 convformer_s18 convit_small convnextv2_nano
    crossvit_9_240 davit_tiny deit_tiny_patch16_224 dla46_c dpn48b edgenext_small efficientformer_l1
    efficientnet_cc_b0_4e efficientvit_b0 eva02_tiny_patch14_224 fastvit_t8 focalnet_tiny_lrf gcvit_xxtiny
    ghostnetv2_100 gmlp_ti16_224 halonet50ts hgnetv2_b0 hiera_tiny_224 hrnet_w18_small inception_next_tiny
    lambda_resnet26rpt_256 levit_192 maxvit_pico_rw_256 mixer_s32_224 mobilenetv4_conv_small_050
    mobilevit_xxs nf_regnet_b0 pit_ti_224 poolformer_s24 pvt_v2_b0 regnety_004 repvgg_a0 resnetv2_50d_gn
    skresnet18 swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 tiny_vit_5m_224
    vit_relpos_small_patch16_224 vit_small_patch16_rope_224 xcit_nano_12_p8_224
"""


def first_rows(oracle: str, names: str) -> list[dict[str, str]]:
    """The first row of each name in a table of published counts."""
    with (ORACLES / oracle).open(newline="") as file:
        rows = {row["model"]: row for row in reversed(list(csv.DictReader(file)))}
    return [rows[name] for name in names.split()]


def torchvision_subjects() -> Iterator[Subject]:
    """A model or two of each family of torchvision; GMACs were published with three decimals."""
    for row in first_rows("torchvision-recount.csv", TORCHVISION):
        shape = tuple(map(int, row["input"].split("x")))
        arguments: dict[str, Any] = {"aux_loss": True} if row["model"].startswith("deeplab") else {}
        if row["module"] == "segmentation":
            arguments["weights_backbone"] = None
        images = 2 if row["module"] == "optical_flow" else 1
        yield Subject(
            "torchvision",
            row["model"],
            functools.partial(build_torchvision, row["model"], arguments),
            functools.partial(zeros_call, [shape] * images),
            int(row["params"]),
            float(row["gmacs"]) * 1e9,
            0.0005e9,
        )


def timm_subjects() -> Iterator[Subject]:
    """Small models over the families of timm; GMACs were published with four decimals."""
    for row in first_rows("timm-counts.csv", TIMM):
        yield Subject(
            "timm",
            row["model"],
            functools.partial(build_timm, row["model"]),
            functools.partial(zeros_call, [(1, 3, int(row["img_size"]), int(row["img_size"]))]),
            int(row["params"]),
            float(row["gmacs"]) * 1e9,
            0.00005e9,
        )


class ZeroWeights(TorchFunctionMode):
    """Fills weights with zeros in place of random numbers: no count depends on them, and it is quicker."""

    RANDOM = ("normal_", "uniform_", "erfinv_", "kaiming_normal_", "kaiming_uniform_")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in self.RANDOM:
            return func(*args, **kwargs)
        with torch.no_grad():
            return (args[0] if args else kwargs["tensor"]).zero_()


def build_torchvision(name: str, arguments: dict[str, Any]) -> nn.Module:
    from torchvision import models

    with ZeroWeights():
        model: nn.Module = models.get_model_builder(name)(weights=None, **arguments)
    return model


def build_timm(name: str) -> nn.Module:
    import timm

    with ZeroWeights():
        model: nn.Module = timm.create_model(name, pretrained=False)
    return model


def zeros_call(shapes: list[tuple[int, ...]]) -> Call:
    return tuple(torch.zeros(shape) for shape in shapes), {}


IDS = {"input_ids": (2, 64)}
IDS_TO_IDS = {"input_ids": (2, 64), "decoder_input_ids": (2, 32)}
IMAGE = {"pixel_values": (2, 3, 128, 128)}
MEL = {"input_features": (2, 80, 100), "decoder_input_ids": (2, 32)}
LAYERS = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
TEXT = {"vocab_size": 1000, **LAYERS}
OLD_TEXT = {"vocab_size": 1000, "hidden_size": 128, "n_layer": 2, "n_head": 4}
PATCHES = {"image_size": 128, "patch_size": 16, **LAYERS}
SIDES = {"layers": 2, "attention_heads": 4, "ffn_dim": 512}
SEQ2SEQ = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in SIDES.items()}
SEQ2SEQ |= {"vocab_size": 1000, "d_model": 128}
SPECIAL_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 1}
CLIP = {"text_config": {**TEXT, "eos_token_id": 2}, "vision_config": PATCHES, "projection_dim": 64}
DISTILBERT = {"vocab_size": 1000, "dim": 128, "n_layers": 2, "n_heads": 4, "hidden_dim": 512}
SWIN = {"image_size": 128, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
T5 = {"vocab_size": 1000, "d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 2, "num_heads": 4}
MAMBA = {"vocab_size": 1000, "hidden_size": 128, "num_hidden_layers": 2, "state_size": 8}
SOUND = {"conv_dim": [64] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}

# model type -> class, configuration, shapes of the named inputs
TRANSFORMERS: dict[str, tuple[str, dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "albert": ("AlbertModel", {**TEXT, "embedding_size": 64}, IDS),
    "bart": ("BartForConditionalGeneration", SEQ2SEQ, IDS_TO_IDS),
    "bert": ("BertForMaskedLM", TEXT, IDS),
    "bloom": ("BloomForCausalLM", OLD_TEXT, IDS),
    "clip": ("CLIPModel", CLIP, {**IDS, **IMAGE}),
    "convnext": ("ConvNextForImageClassification", {"hidden_sizes": [32, 64, 128, 256]}, IMAGE),
    "deberta-v2": ("DebertaV2Model", TEXT, IDS),
    "dinov2": ("Dinov2Model", PATCHES, IMAGE),
    "distilbert": ("DistilBertModel", DISTILBERT, IDS),
    "electra": ("ElectraForPreTraining", {**TEXT, "embedding_size": 64}, IDS),
    "gemma": ("GemmaForCausalLM", {**TEXT, "num_key_value_heads": 1, "head_dim": 32}, IDS),
    "gpt2": ("GPT2LMHeadModel", OLD_TEXT, IDS),
    "gpt_neox": ("GPTNeoXForCausalLM", TEXT, IDS),
    "llama": ("LlamaForCausalLM", {**TEXT, "num_key_value_heads": 2}, IDS),
    "mamba": ("MambaForCausalLM", MAMBA, IDS),
    "mixtral": ("MixtralForCausalLM", {**TEXT, "num_key_value_heads": 2, "num_local_experts": 4}, IDS),
    "opt": ("OPTForCausalLM", {**TEXT, "ffn_dim": 512, "word_embed_proj_dim": 128}, IDS),
    "qwen2": ("Qwen2ForCausalLM", {**TEXT, "num_key_value_heads": 2}, IDS),
    "roberta": ("RobertaForSequenceClassification", TEXT, IDS),
    "segformer": ("SegformerForSemanticSegmentation", {"depths": [1, 1, 1, 1]}, IMAGE),
    "swin": ("SwinForImageClassification", SWIN, IMAGE),
    "t5": ("T5ForConditionalGeneration", T5, IDS_TO_IDS),
    "vit": ("ViTForImageClassification", PATCHES, IMAGE),
    "wav2vec2": ("Wav2Vec2Model", {**TEXT, **SOUND}, {"input_values": (2, 16000)}),
    "whisper": (
        "WhisperForConditionalGeneration",
        {**SEQ2SEQ, **SPECIAL_TOKENS, "max_source_positions": 50},
        MEL,
    ),
}


def transformers_subjects() -> Iterator[Subject]:
    """Small configurations of the model types of TRANSFORMERS."""
    for name, (_, _, shapes) in TRANSFORMERS.items():
        yield Subject(
            "transformers",
            name,
            functools.partial(build_transformers, name),
            functools.partial(named_call, shapes),
        )


def build_transformers(name: str, **implementations: str) -> nn.Module:
    """Without a cache among the outputs, which multiplies nothing and cannot be traced."""
    import transformers

    class_name, settings, _ = TRANSFORMERS[name]
    config = transformers.AutoConfig.for_model(name, use_cache=False, **settings, **implementations)
    model: nn.Module = getattr(transformers, class_name)(config)
    return model


def named_call(shapes: dict[str, tuple[int, ...]]) -> Call:
    dtypes = {name: torch.long if name.endswith("ids") else torch.float32 for name in shapes}
    return (), {name: torch.zeros(shape, dtype=dtypes[name]) for name, shape in shapes.items()}


TRUTH = "truth"  # the worker that counts with torch.utils.flop_counter


# ---- one tool, in its own process


@dataclass(frozen=True)
class Answer:
    """What came of asking a tool about a model."""

    params: int | None = None
    macs: float | None = None
    seconds: float | None = None
    error: str | None = None
    not_for_it: str | None = None
    not_built: str | None = None


def ask(tool: str, subject: Subject) -> Answer:
    """A fresh model, in eval mode, through the tool; only the tool's own call is timed."""
    count = with_flop_counter if tool == TRUTH else TOOLS[tool].count
    try:
        model = written_out(subject) if tool == TRUTH else subject.build()
    except Exception as error:
        return Answer(not_built=first_line(error))
    model.eval()
    args, kwargs = subject.call()
    started = time.perf_counter()
    try:
        figures = count(model, args, kwargs)
    except NotForIt as reason:
        return Answer(not_for_it=str(reason))
    except ReportedError as error:
        return Answer(error=str(error), seconds=time.perf_counter() - started)
    except Exception as error:
        return Answer(error=first_line(error), seconds=time.perf_counter() - started)
    return Answer(figures.params, figures.macs, time.perf_counter() - started)


def written_out(subject: Subject) -> nn.Module:
    """A transformers model whose attention and experts are plain matmuls."""
    return build_transformers(subject.name, attn_implementation="eager", experts_implementation="eager")


def first_line(error: BaseException) -> str:
    """The class and the first line of the error that was raised first."""
    cause = error.__cause__ or error
    text = str(cause).strip()
    return f"{type(cause).__name__}: {text.splitlines()[0] if text else ''}".rstrip(": ")


def work(tool: str) -> None:
    """Answer each key that comes on stdin with one line on stdout, until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    torch.set_num_threads(1)  # steadier times where other work shares the cores
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what tools and models print must not get between the answers
    warnings.simplefilter("ignore")
    by_key = {subject.key: subject for subject in subjects()}
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(asdict(ask(tool, by_key[line.strip()]))) + "\n")
        answers.flush()
        gc.collect()


class Worker:
    """The process of one tool; replaced after it died or overran its time."""

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.process: subprocess.Popen[str] | None = None

    def ask(self, subject: Subject) -> Answer:
        process = self.process = self.process or self._start()
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(BrokenPipeError):  # it died since its last answer; reading will tell
            process.stdin.write(subject.key + "\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            code = process.wait() if ready else None
            self.close()
            return Answer(error=f"the process ended with {code}" if ready else f"no answer in {SECONDS} s")
        answer = Answer(**json.loads(line))
        if answer.not_built:
            self.close()
            raise RuntimeError(f"{subject.key} cannot be built: {answer.not_built}")
        return answer

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, __file__, "--worker", self.tool],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the process of {self.tool} does not start: {' '.join(process.args)}")
        return process

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None


# ---- the verdict


@dataclass(frozen=True)
class Row:
    """One tool on one model, judged."""

    subject: Subject
    tool: str
    answer: Answer
    verdict: str
    detail: str


VERDICTS = ("right", "close", "params right only", "wrong", "crash")
NOT_FOR_IT = "n/a"


def judge(subject: Subject, tool: str, answer: Answer) -> Row:
    return Row(subject, tool, answer, *verdict(subject, answer))


def verdict(subject: Subject, answer: Answer) -> tuple[str, str]:
    """One of VERDICTS or NOT_FOR_IT, and what is off."""
    if answer.not_for_it is not None:
        return NOT_FOR_IT, answer.not_for_it
    if answer.error is not None:
        return "crash", answer.error
    macs, detail = macs_verdict(subject, answer.macs)
    if answer.params != subject.params:
        return "wrong", ", ".join(filter(None, [off("params", answer.params, subject.params), detail]))
    return macs, detail


def macs_verdict(subject: Subject, macs: float | None) -> tuple[str, str]:
    """The verdict on MACs, where the parameters are right."""
    if subject.macs is None:
        return "right", ""
    if macs is None:
        return "params right only", "no MACs"
    error = abs(macs - subject.macs)
    if error <= (max(subject.rounding, ROUNDED * subject.macs) if subject.rounding else 0):
        return "right", ""
    return "close" if error <= CLOSE * subject.macs else "params right only", off("MACs", macs, subject.macs)


def off(what: str, said: float | None, truth: float | None) -> str:
    """The error in words: relative, and absolute where the truth is 0."""
    assert said is not None
    assert truth is not None
    if not truth:
        return f"{what} {said:,.0f}, truth 0"
    return f"{what} {relative(said, truth)}"


def relative(said: float, truth: float) -> str:
    """The relative error with two significant digits, in percent; as a factor from twice the truth on."""
    if said >= 2 * truth:
        return f"x {said / truth:.3g}"
    return f"{float(f'{(said - truth) / truth * 100:.2g}'):+g} %"


# ---- the comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("patterns", nargs="*", default=["*"], help="models, like 'timm/*'")
    parser.add_argument("--output", type=Path, default=ROOT / "reports")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    chosen = [s for s in subjects() if any(fnmatch.fnmatch(s.key, p) for p in options.patterns)]
    chosen = list(with_truth(chosen))
    rows = [row for tool in installed() for row in compared(tool, chosen)]
    write_csv(rows, options.output / "tools.csv")
    report = "\n".join(report_lines(rows)) + "\n"
    (options.output / "tools.md").write_text(report, encoding="utf-8")
    print("\n".join(totals_table(rows)))


def installed() -> Iterator[str]:
    for name, tool in TOOLS.items():
        if importlib.util.find_spec(tool.package):
            yield name
        else:
            print(f"{name} is not installed: left out (pip install {tool.package})", file=sys.stderr)


def with_truth(chosen: Iterable[Subject]) -> Iterator[Subject]:
    """The models, those without published figures counted by torch itself."""
    worker = Worker(TRUTH)
    for subject in chosen:
        if subject.params is None:
            counted = worker.ask(subject)
            if counted.error:
                raise RuntimeError(f"{subject.key} cannot be counted: {counted.error}")
            yield replace(subject, params=counted.params, macs=counted.macs)
        else:
            yield subject
    worker.close()


def compared(tool: str, chosen: list[Subject]) -> Iterator[Row]:
    worker = Worker(tool)
    for subject in chosen:
        row = judge(subject, tool, worker.ask(subject))
        print(f"{tool}: {subject.key}: {row.verdict} {row.detail}", file=sys.stderr, flush=True)
        yield row
    worker.close()


# ---- the reports


COLUMNS = ("group", "model", "tool", "verdict", "detail")
COLUMNS += ("params", "macs", "true_params", "true_macs", "seconds")


def write_csv(rows: list[Row], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            subject, answer = row.subject, row.answer
            counts = map(whole, (answer.params, answer.macs, subject.params, subject.macs))
            seconds = "" if answer.seconds is None else f"{answer.seconds:.3f}"
            writer.writerow(
                (subject.group, subject.name, row.tool, row.verdict, row.detail, *counts, seconds)
            )


def whole(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}"


def report_lines(rows: list[Row]) -> Iterator[str]:
    yield "# modelsum beside other tools"
    yield ""
    yield f"Made by `python tests/benchmarks/compare_tools.py`: {environment(rows)}."
    yield ""
    yield from totals_table(rows)
    yield ""
    yield from MEANING.strip().splitlines()
    yield ""
    yield from conventions_table(rows)
    for group in unique(row.subject.group for row in rows):
        yield ""
        yield f"## {group}"
        yield ""
        yield TRUTHS[group]
        yield ""
        yield from group_table([row for row in rows if row.subject.group == group])
    yield ""
    yield from errors(rows)


MEANING = f"""
- **right**: the parameters are exact, and so are the MACs (where the truth is a rounded figure: within
  {ROUNDED * 100:g} %, or its last digit). Where nobody knows the MACs, the parameters decide.
- **close**: the parameters are exact, the MACs within {CLOSE * 100:g} %, which a convention on biases, norms
  or pooling may explain. In a very small model such a convention weighs more.
- **params right only**: the MACs are further off, or there are none. **wrong**: the parameters are not exact.
- **crash**: an error in place of figures. **n/a**: the tool cannot be given this call.
- A multiply-accumulate counts as 1, and for the whole batch. Every tool is given a fresh model in eval mode
  on the CPU, and one thread. Seconds are of the tool's call alone, without building the model.
"""

TRUTHS = {
    "cases": "Thirty models of one awkwardness each (`tests/cases`); the truth was worked out by hand. "
    "Case 19 fails on purpose: modelsum's error carries the summary so far, whose parameters are judged. "
    "In case 41 the weights are packed, and 0 parameters are right.",
    "torchvision": "The truth: `tests/oracles/torchvision-recount.csv`, GMACs with three decimals.",
    "timm": "The truth: `tests/oracles/timm-counts.csv`, GMACs with four decimals.",
    "transformers": "Small configurations, which are in the script. The truth: the elements of the unique "
    "parameters, and half of what `torch.utils.flop_counter` counts on the CPU with attention and experts in "
    "their eager implementation. The tools are given the default one.",
}


def environment(rows: list[Row]) -> str:
    packages = unique(
        ["torch", *(TOOLS[row.tool].package for row in rows), *(row.subject.group for row in rows)]
    )
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages if name != "cases"]
    return f"{', '.join(versions)}, Python {platform.python_version()}, {processor()}"


def processor() -> str:
    """The CPU in words, like '2 cores of AMD EPYC'."""
    name = platform.machine()
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        name = found[1] if found else name
    return f"{os.cpu_count()} cores of {name}"


def totals_table(rows: list[Row]) -> Iterator[str]:
    yield from header("tool", *VERDICTS, NOT_FOR_IT, "models", "median s a model")
    for tool in unique(row.tool for row in rows):
        mine = [row for row in rows if row.tool == tool]
        counts = Counter(row.verdict for row in mine)
        seconds = [row.answer.seconds for row in mine if row.answer.seconds is not None]
        median = f"{statistics.median(seconds):.3f}" if seconds else ""
        yield line(tool, *(counts[v] for v in (*VERDICTS, NOT_FOR_IT)), len(mine), median)


def conventions_table(rows: list[Row]) -> Iterator[str]:
    yield from header("tool", "called as", "what it counts", align="---")
    for name in unique(row.tool for row in rows):
        yield line(name, TOOLS[name].call, TOOLS[name].convention)


def group_table(rows: list[Row]) -> Iterator[str]:
    tools = unique(row.tool for row in rows)
    yield from header("model", "params", "MACs", *tools)
    cells = {(row.subject.key, row.tool): cell(row) for row in rows}
    for subject in {row.subject.key: row.subject for row in rows}.values():
        macs = "" if subject.macs is None else f"{subject.macs:,.0f}"
        answers = (cells[subject.key, tool] for tool in tools)
        yield line(subject.name, f"{subject.params:,}", macs, *answers)


def cell(row: Row) -> str:
    if row.verdict in ("right", "crash", NOT_FOR_IT):
        return row.verdict
    return f"close: {row.detail}" if row.verdict == "close" else row.detail


def errors(rows: list[Row]) -> Iterator[str]:
    """What stands behind each crash."""
    yield "## Crashes"
    yield ""
    yield from header("tool", "models", "first line of the error", align="---")
    crashes: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.verdict == "crash":
            crashes.setdefault((row.tool, row.detail), []).append(row.subject.key)
    for (tool, error), keys in crashes.items():
        yield line(tool, ", ".join(keys), error)


def header(*titles: str, align: str = "---:") -> Iterator[str]:
    yield line(*titles)
    yield line("---", *[align] * (len(titles) - 1))


def line(*cells: object) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"


def unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


if __name__ == "__main__":
    main()
