"""What the user writes, read into frozen values: MODEL, `--input` and `--arg`.

resnet50                            ModelSpec("resnet50", "name", None, "resnet50", None)
timm/vit_base_patch16_224           ModelSpec(..., "name", "timm", "vit_base_patch16_224", None)
package.nets:Detector               ModelSpec(..., "import", None, "package.nets", "Detector")
path/nets.py:Detector               ModelSpec(..., "file", None, "path/nets.py", "Detector")
weights/model.safetensors           ModelSpec(..., "weights", None, "weights/model.safetensors", None)
./llama:LlamaForCausalLM            ModelSpec(..., "disk", None, "./llama", "LlamaForCausalLM")
hf:org/name@main                    ModelSpec(..., "name", "hf", "org/name@main", None)

3x224x224                           InputSpec(None, (3, 224, 224), None)
tokens=16:int64                     InputSpec("tokens", (16,), "int64")
step=scalar:int64                   InputSpec("step", (), "int64")
scale=0.5                           InputSpec("scale", (), None, "0.5")
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from modelsum.errors import ArgumentError, InputError, UsageError, valid_words

#: dtype names of --dtype and --input, as torch spells them.
FLOAT_DTYPES = ("float32", "float16", "bfloat16", "float64")
INPUT_DTYPES = (*FLOAT_DTYPES, "complex64", "complex128", "int64", "int32", "int16", "int8", "uint8", "bool")

# What else they are called, in torch and elsewhere.
_DTYPES = {
    "fp32": "float32",
    "float": "float32",
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "fp64": "float64",
    "double": "float64",
    "long": "int64",
    "int": "int32",
    "short": "int16",
}
DEVICES = ("auto", "meta", "cpu", "cuda")
MODES = ("eval", "train")

WEIGHT_SUFFIXES = (".safetensors", ".safetensors.index.json", ".pt", ".pth", ".bin")
#: Files that are models, or that models are built from.
MODEL_SUFFIXES = (".pt2", ".onnx", ".gguf", ".ts", ".torchscript", "config.json")

#: What a head is for, as transformers names its mappings of heads. "generation" is the first that there is of
#: those that write a text.
TASKS: Mapping[str, tuple[str, ...]] = {
    "causal-lm": ("CAUSAL_LM",),
    "seq2seq-lm": ("SEQ_TO_SEQ_CAUSAL_LM",),
    "generation": ("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "SPEECH_SEQ_2_SEQ"),
    "masked-lm": ("MASKED_LM",),
    "sequence-classification": ("SEQUENCE_CLASSIFICATION",),
    "token-classification": ("TOKEN_CLASSIFICATION",),
    "question-answering": ("QUESTION_ANSWERING",),
    "image-classification": ("IMAGE_CLASSIFICATION",),
    "image-text-to-text": ("IMAGE_TEXT_TO_TEXT",),
    "speech-seq2seq": ("SPEECH_SEQ_2_SEQ",),
}

#: What stands before a model of the Hugging Face Hub.
HUB = "hf"

_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADED = re.compile(r".+[^:/\\]:[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A MODEL string, taken apart.

    Attributes:
        text: as the user wrote it.
        kind: "name" (of an architecture), "import" (module:attribute), "file" (file.py:attribute), "weights"
            (a weights file) or "disk" (another file or folder).
        provider: what stands before the slash of a name, or None.
        name: the architecture's name, the module's dotted name or the file's path.
        attribute: what stands after the colon, or None; None of a file names nothing that could be run.
        task: of `TASKS`, which head it takes; None for the one that its name stands for.
        fetch: its configuration may be fetched from the Hub.
    """

    text: str
    kind: str
    provider: str | None
    name: str
    attribute: str | None
    task: str | None = None
    fetch: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Lora:
    """Adapters of low rank, as `peft.LoraConfig` has them.

    Attributes:
        r: their rank.
        targets: names of layers, or "all-linear"; none for those that peft takes of a known model type.
        alpha: what they are scaled by, alpha / r.
        dropout: of what goes into them.
        base: format of the weights beside them, "nf4" or "int8"; None as they are.
        double: the scales of that format are quantized themselves.

    Raises UsageError for a rank that is none, and another format.
    """

    r: int = 8
    targets: tuple[str, ...] = ()
    alpha: int = 8
    dropout: float = 0.0
    base: str | None = None
    double: bool = False

    def __post_init__(self) -> None:
        if type(self.r) is not int or self.r < 1:
            raise UsageError(f"lora r={self.r!r} is no rank", "Write a whole number from 1, like r=16.")
        if self.base not in (None, "nf4", "int8"):
            raise UsageError(
                f"lora base={self.base!r} is not known", valid_words(str(self.base), ("nf4", "int8"))
            )


#: What ends an advice where the shape would do as it is, for a command that can take it so.
OR_LITERALLY = ", or --no-batch"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One `--input`.

    Attributes:
        name: the keyword; None for a positional one.
        shape: the sizes of a sample.
        dtype: None for the model's own.
        value: of a keyword that is no tensor, as the user wrote it: a Python literal.
    """

    name: str | None
    shape: tuple[int, ...]
    dtype: str | None
    value: str | None = None

    @property
    def may_be_a_number(self) -> bool:
        """Whether it is written as both one size and a whole number: "lengths=40"."""
        return bool(self.name) and len(self.shape) == 1 and self.dtype is None

    def __str__(self) -> str:
        if self.value is not None:
            return f"{self.name}={self.value}"
        sizes = "x".join(map(str, self.shape)) if self.shape else "scalar"
        name = f"{self.name}=" if self.name else ""
        return f"{name}{sizes}" + (f":{self.dtype}" if self.dtype else "")


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """A constructor argument that is an object: `package.module:Config(width=8)`, or what a name stands for.

    Attributes:
        text: as the user wrote it; this is what JSON has.
        name: of the class or function, or of the object itself.
        called: it is called with `args` and `kwargs`, Python literals.
    """

    text: str
    name: ModelSpec
    called: bool
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> str:
        """Its text."""
        return self.text


def cut(text: str, marks: str) -> list[str]:
    """The text up to the first of some marks, and from each mark to the next; brackets and quotes are whole.

    In front of the first mark quotes are no quotes: a folder may be o'brien's.
    """
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and len(parts) > 1:
            quote = char
        depth += (char in "([{") - (char in ")]}") if not quote else 0
        if char in marks and not depth and not quote:
            parts.append(char)
        else:
            parts[-1] += char
    return parts


def parse_model(text: str) -> ModelSpec:
    """Take a MODEL string apart. Raises UsageError where it cannot be one."""
    stripped = text.strip()
    if not stripped:
        raise UsageError("the model's name is empty", "Try `modelsum list` for the documented names.")
    head, colon, tail = stripped.rpartition(":")
    if colon and head.endswith(".py"):
        return ModelSpec(text, "file", None, head, _attribute(stripped, tail))
    if stripped.endswith(".py"):
        return ModelSpec(text, "file", None, stripped, None)
    if stripped.lower().endswith(WEIGHT_SUFFIXES):
        return ModelSpec(text, "weights", None, stripped, None)
    if stripped.startswith(f"{HUB}:"):
        name, _, head = stripped.removeprefix(f"{HUB}:").partition(":")
        return ModelSpec(text, "name", HUB, name, head or None)
    place, _, named = stripped.rpartition(":") if _HEADED.fullmatch(stripped) else (stripped, "", "")
    if place.startswith((".", "/", "~")) or place.lower().endswith(MODEL_SUFFIXES):
        return ModelSpec(text, "disk", None, place, named or None)
    if _DRIVE.match(stripped):
        return ModelSpec(text, "name", None, stripped, None)
    provider, slash, name = stripped.partition("/")
    if slash:
        name, colon, head_class = name.rpartition(":") if ":" in name else (name, "", "")
        return ModelSpec(text, "name", provider, name, head_class or None)
    if colon:
        if not all(_IDENTIFIER.fullmatch(part) for part in head.split(".")):
            raise UsageError(f"{head!r} in {stripped!r} is not a module's dotted name", MODEL_FORMS)
        return ModelSpec(text, "import", None, head, _attribute(stripped, tail))
    return ModelSpec(text, "name", None, stripped, None)


#: What a MODEL may look like, for who wrote something else.
MODEL_FORMS = (
    "A model is NAME, PROVIDER/NAME, hf:ORG/NAME, package.module:attribute, path/file.py:attribute, "
    "or a file or folder with one."
)


def _attribute(text: str, attribute: str) -> str:
    if not all(_IDENTIFIER.fullmatch(part) for part in attribute.split(".")):
        raise UsageError(f"{attribute!r} in {text!r} is not the name of an attribute", MODEL_FORMS)
    return attribute


def parse_input(text: str) -> InputSpec:
    """Read one `--input`: [NAME=]SIZExSIZE...[:DTYPE], `scalar` for a 0-d tensor, or NAME=LITERAL.

    A literal is a number, True, False, None, a quoted string or a list: what cannot be sizes.

    Raises InputError for anything else, zero and negative sizes included.
    """
    name, equals, rest = text.strip().rpartition("=")
    if equals and not _IDENTIFIER.fullmatch(name):
        raise InputError(f"input {text!r}: {name!r} is not a keyword", "Write NAME=3x224x224.")
    if equals and _is_value(rest):
        return InputSpec(name, (), None, rest)
    sizes, colon, word = rest.partition(":")
    dtype = dtype_name(word)
    if colon and dtype not in INPUT_DTYPES:
        raise InputError(f"input {text!r}: unknown dtype {word!r}", valid_words(word, INPUT_DTYPES))
    if sizes == "scalar":
        return InputSpec(name or None, (), dtype or None)
    if not re.fullmatch(r"-?\d+(x-?\d+)*", sizes):
        numbers = re.findall(r"\d+", sizes)
        example = "x".join(numbers) if numbers and re.fullmatch(r"[\s\d,xX*()\[\]]+", sizes) else "3x224x224"
        raise InputError(
            f"input {text!r}: {sizes!r} is not a shape",
            f"Write the sizes of one sample with x between them, like {example}; the batch is added.",
        )
    shape = tuple(map(int, sizes.split("x")))
    for size in shape:
        if size < 1:
            raise InputError(f"input {text!r}: size {size} is not positive", "Every size is 1 or more.")
    return InputSpec(name or None, shape, dtype or None)


def _is_value(text: str) -> bool:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return isinstance(value, (bool, float, str, list, dict, NoneType)) or value == 0


def dtype_name(word: str) -> str:
    """torch's name for a dtype: bf16 -> bfloat16, half -> float16; a word that is none as it is."""
    name = word.strip().lower().removeprefix("torch.")
    return _DTYPES.get(name, name)


def check_dtype(dtype: str) -> str:
    """torch's name for the dtype if a model can be built in it. Raises UsageError with the valid ones."""
    name = dtype_name(dtype)
    if name not in FLOAT_DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}", valid_words(dtype, FLOAT_DTYPES))
    return name


def check_device(device: str) -> str:
    """The device if it is written as one. Raises UsageError; whether it is there, torch has to say."""
    if not re.fullmatch(r"auto|meta|cpu|cuda(:\d+)?", device):
        raise UsageError(f"unknown device {device!r}", valid_words(device, (*DEVICES, "cuda:N")))
    return device


def check_mode(mode: str) -> str:
    """The mode if it is one. Raises UsageError."""
    if mode not in MODES:
        raise UsageError(f"unknown mode {mode!r}", valid_words(mode, MODES))
    return mode


def check_task(task: str) -> str:
    """The task if it is one of `TASKS`. Raises UsageError."""
    if task not in TASKS:
        raise UsageError(f"unknown task {task!r}", valid_words(task, tuple(TASKS)))
    return task


def check_batch(batch: int | None) -> int | None:
    """The batch size, 1 or more, or None for shapes that are taken literally. Raises InputError."""
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise InputError(f"batch size {batch!r} is not a positive whole number", "Write 1 or more.")
    return batch


def parse_inputs(texts: Iterable[str]) -> tuple[InputSpec, ...]:
    """Read all inputs of a call. Raises InputError, also for a keyword that is given twice."""
    inputs = tuple(map(parse_input, texts))
    names = [given.name for given in inputs if given.name]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"input {name!r} is given twice", "Give each keyword once.")
    return inputs


def parse_arguments(texts: Iterable[str]) -> dict[str, Any]:
    """Read all constructor arguments. Raises ArgumentError, also for one that is given twice."""
    arguments: dict[str, Any] = {}
    for key, value in map(parse_argument, texts):
        if key in arguments:
            raise ArgumentError(f"argument {key!r} is given twice", "Give it once.")
        arguments[key] = value
    return arguments


def parse_lora(text: str) -> Lora:
    """Read `--lora`: r=16,targets=q_proj|v_proj,alpha=32,dropout=0.05,base=nf4. Raises UsageError."""
    given: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key not in Lora.__dataclass_fields__:
            raise UsageError(
                f"lora {text!r}: {part.strip()!r} is not known",
                valid_words(key, tuple(f"{name}=..." for name in Lora.__dataclass_fields__)),
            )
        try:
            given[key] = tuple(value.split("|")) if key == "targets" else ast.literal_eval(value)
        except (ValueError, SyntaxError):
            given[key] = value.lower() == "true" if value.lower() in ("true", "false") else value
    return Lora(**given)


def parse_argument(text: str) -> tuple[str, Any]:
    """Read one `--arg` KEY=VALUE.

    VALUE is a Python literal, a bare word for a string, or an `ObjectSpec`.

    Raises ArgumentError for a missing `=`, a key that is no identifier, a value that is neither.
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not _IDENTIFIER.fullmatch(key):
        raise ArgumentError(f"--arg {text!r} is not KEY=VALUE", "Write --arg num_classes=10.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        pass
    constant = {"true": "True", "false": "False", "none": "None"}.get(value.lower())
    if constant:
        raise ArgumentError(f"--arg {text!r}: {value!r} is not a Python literal", f"Write {key}={constant}.")
    if re.fullmatch(r"[A-Za-z_][\w.-]*", value):
        return key, value
    if (made := parse_object(value, f"--arg {text!r}")) is not None:
        return key, made
    raise ArgumentError(
        f"--arg {text!r}: {value!r} is not a Python literal",
        f"Write a number, True, False, None, a quoted string or a list, like {key}=10, "
        f"or an object, like {key}=package.module:Config(width=8).",
    )


_OBJECT = re.compile(r"(?P<name>[^()'\"]+:[A-Za-z_][\w.]*)(?P<call>\(.*\))?", re.DOTALL)


def parse_object(value: str, what: str) -> ObjectSpec | None:
    """Read a text that stands for an object; None where it is none.

    Raises ArgumentError, whose message begins with `what`, where its arguments cannot be read.
    """
    made = _OBJECT.fullmatch(value)
    if made is None:
        return None
    name, call = made["name"], made["call"]
    if call is None:
        return ObjectSpec(value, parse_model(name), called=False)
    try:
        read: Any = ast.parse(f"f{call}", mode="eval").body
        args = tuple(map(ast.literal_eval, read.args))
        kwargs = {keyword.arg: ast.literal_eval(keyword.value) for keyword in read.keywords if keyword.arg}
    except (ValueError, SyntaxError, AttributeError):
        raise ArgumentError(
            f"{what}: {call!r} are no arguments",
            "They are Python literals: Config(width=8, act='relu').",
        ) from None
    return ObjectSpec(value, parse_model(name), True, args, kwargs)
