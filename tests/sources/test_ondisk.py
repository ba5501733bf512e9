"""Models as they lie on disk: a file of each kind, made by the library that makes it, costs as its module."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import modelsum

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def net() -> nn.Module:
    """246 + 8 + 8 + 5,130 params; 24 * 9 * 64 + 512 * 10 MACs a sample."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    ).eval()


PARAMS, MACS = 224 + 16 + 5130, 3 * 8 * 9 * 64 + 512 * 10


def exported(model: nn.Module, path: Path, batches: object = torch.export.Dim("batch", min=2)) -> None:
    """Of a batch of 4, for other `batches` too; None for no other."""
    sizes = ({0: batches} if batches else {},)
    program = torch.export.export(model, (torch.zeros(4, 3, 8, 8),), dynamic_shapes=sizes)
    torch.export.save(program, path)


def traced(model: nn.Module, path: Path) -> None:
    torch.jit.save(torch.jit.trace(model, torch.zeros(1, 3, 8, 8)), path)


def scripted(model: nn.Module, path: Path) -> None:
    torch.jit.save(torch.jit.script(model), path)


def onnx(model: nn.Module, path: Path) -> None:
    """By hand, as the exporters of torch need packages of their own."""
    made = pytest.importorskip("onnx")
    state = model.state_dict()

    def node(op: str, inputs: list[str], out: str, **attributes: object) -> object:
        return made.helper.make_node(op, inputs, [out], f"/{op}", **attributes)

    nodes = [
        node("Conv", ["x", "0.weight", "0.bias"], "a", pads=[1, 1, 1, 1]),
        node(
            "BatchNormalization",
            ["a", *(f"1.{n}" for n in ("weight", "bias", "running_mean", "running_var"))],
            "b",
        ),
        node("Relu", ["b"], "c"),
        node("Flatten", ["c"], "d"),
        node("Gemm", ["d", "4.weight", "4.bias"], "y", transB=1),
    ]
    weights = [made.numpy_helper.from_array(t.numpy(), n) for n, t in state.items() if t.dim()]
    kind = made.TensorProto.FLOAT
    x, y = (
        made.helper.make_tensor_value_info(n, kind, s) for n, s in (("x", ["n", 3, 8, 8]), ("y", ["n", 10]))
    )
    graph = made.helper.make_graph(nodes, "net", [x], [y], weights)
    made.save(made.helper.make_model(graph, opset_imports=[made.helper.make_opsetid("", 17)]), path)


@pytest.mark.parametrize(
    ("file", "make", "batch"),
    [("net.pt2", exported, 8), ("net.onnx", onnx, 8), ("net.ts", traced, 8), ("net.pt", scripted, 8)],
)
def test_a_file_costs_what_its_module_does(
    here: Path, net: nn.Module, file: str, make: Callable[[nn.Module, Path], None], batch: int
) -> None:
    make(net, here / file)
    sizes = {} if file.endswith(("pt2", "onnx")) else {"input_size": (3, 8, 8)}
    summary = modelsum.summarize(file, batch=batch, memory=False, **sizes)
    assert (summary.totals.params, summary.totals.macs) == (PARAMS, batch * MACS)
    assert summary.inputs[0].shape == (batch, 3, 8, 8)


PAIRS = torch.export.Dim("pairs", max=32)


@pytest.mark.parametrize(
    ("batches", "largest", "refused", "said"),
    [
        (torch.export.Dim("batch", min=3, max=64), 64, 65, "takes batches of 3 to 64, not of 65"),
        (2 * PAIRS, 64, 63, "takes batches of 4, 6 ... 64, not of 63"),
        (None, 4, 8, "was exported for a batch of 4: there is no other"),
    ],
)
def test_a_fit_stays_among_the_batches_of_a_program(
    modelsum_cli, here: Path, net: nn.Module, batches: object, largest: int, refused: int, said: str
) -> None:
    exported(net, here / "net.pt2", batches)
    fit = ("fit", "net.pt2", "--infer", "--target", "cpu", "--no-ways", "--memory")
    done = modelsum_cli(*fit, "1GiB")
    words = f"The largest batch that fits is {largest}, and the model takes no larger one"
    assert (done.code, words in " ".join(done.out.split())) == (0, True), done.err
    if batches:
        found = json.loads(modelsum_cli(*fit, "200KiB", "--format", "json").out)
        assert found["below"]["bytes"] <= 200 * 1024 < found["above"]["bytes"]
        assert found["above"]["batch"] - found["batch"] == (1 if refused > largest else 2)
    done = modelsum_cli(*fit, "1GiB", "--batch", str(refused))
    assert (done.code, done.out, said in " ".join(done.err.split())) == (2, "", True)


@pytest.mark.parametrize(("file", "make"), [("net.pt2", exported), ("net.pt", scripted)])
def test_what_is_wrong_with_a_file_is_said_once(
    modelsum_cli, here: Path, net: nn.Module, file: str, make: Callable[[nn.Module, Path], None]
) -> None:
    """No traceback of torch before the sentence, and none of its words for a file that ends too early."""
    make(net, here / file)
    whole = modelsum_cli("show", file, "--no-memory", "--input", "3x8x8", "--batch", "2")
    assert (whole.code, whole.err) == (0, "")
    (here / file).write_bytes((here / file).read_bytes()[:2000])
    done = modelsum_cli("show", file)
    assert (done.code, done.out, file in done.err) == (2, "", True)
    assert done.err.startswith("modelsum: error: ")
    assert len(done.err.splitlines()) <= 2
    assert ("ends too early" in done.err) == (file == "net.pt")


def test_a_layer_of_onnx_is_a_node(here: Path, net: nn.Module) -> None:
    onnx(net, here / "net.onnx")
    layers = {layer.path: layer for layer in modelsum.summarize("net.onnx").layers}
    assert layers["Conv"].class_name == "Conv"
    assert (layers["Conv"].macs, layers["Conv"].params) == (3 * 8 * 9 * 64, 224)
    assert layers["Gemm"].output_shapes == (1, 10)


def test_an_operator_of_onnx_without_a_rule_is_told(here: Path) -> None:
    made = pytest.importorskip("onnx")
    kind = made.TensorProto.FLOAT
    x, grid, y = (
        made.helper.make_tensor_value_info(n, kind, s)
        for n, s in (("x", [1, 2, 4, 4]), ("grid", [1, 4, 4, 2]), ("y", [1, 2, 4, 4]))
    )
    graph = made.helper.make_graph(
        [made.helper.make_node("GridSample", ["x", "grid"], ["y"])], "g", [x, grid], [y]
    )
    made.save(
        made.helper.make_model(graph, opset_imports=[made.helper.make_opsetid("", 20)]), here / "grid.onnx"
    )
    assert modelsum.summarize("grid.onnx").uncounted_ops == {"onnx.GridSample": 1}


def test_an_empty_file_is_no_graph(modelsum_cli, here: Path) -> None:
    pytest.importorskip("onnx")
    (here / "empty.onnx").touch()
    done = modelsum_cli("show", "empty.onnx")
    assert (done.code, done.out, "is no ONNX model" in done.err) == (2, "", True)


def test_a_size_that_onnx_leaves_free_has_to_be_given(modelsum_cli, here: Path) -> None:
    made = pytest.importorskip("onnx")
    x, y = (made.helper.make_tensor_value_info(n, made.TensorProto.FLOAT, ["n", "t", 8]) for n in "xy")
    graph = made.helper.make_graph([made.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    made.save(made.helper.make_model(graph), here / "free.onnx")
    done = modelsum_cli("compare", "free.onnx", "resnet18")
    assert (done.code, "input 'x' is nxtx8, where 't' is free" in done.err) == (2, True)
    assert modelsum_cli("show", "free.onnx", "--seq-len", "5", "--no-memory").code == 0


# ---- configurations


def written(folder: Path, **entries: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**LLAMA, **entries}))
    return folder


@pytest.mark.parametrize(
    "model", ["small", "./small", "small/config.json", "{here}/small", "transformers/./small"]
)
def test_a_folder_with_a_configuration_is_its_model(here: Path, model: str) -> None:
    """2 * 256 * 64 embeddings and head; 64 * (64 + 2 * 32 + 64 + 3 * 128) a layer, and norms."""
    pytest.importorskip("transformers")
    written(here / "small")
    summary = modelsum.summarize(model.format(here=here), memory=False, model_args={"num_hidden_layers": 2})
    assert (summary.model.class_name, summary.dtype) == ("LlamaForCausalLM", "bfloat16")
    assert summary.totals.params == 2 * 256 * 64 + 2 * (64 * (64 + 2 * 32 + 64 + 3 * 128) + 2 * 64) + 64


def test_a_task_chooses_the_head_and_says_so(modelsum_cli, here: Path) -> None:
    pytest.importorskip("transformers")
    written(here / "llama", architectures=["LlamaModel"])
    done = modelsum_cli("show", "./llama", "--task", "sequence-classification", "--depth", "0", "--no-memory")
    assert "for sequence-classification the class is LlamaForSequenceClassification" in done.out
    refused = modelsum_cli("show", "./llama", "--task", "masked-lm")
    assert (refused.code, "no class of llama for masked-lm" in refused.err) == (2, True)
    assert "causal-lm" in refused.err.splitlines()[1]
    (here / "net.py").write_text("from torch.nn import Identity")
    other = modelsum.summarize("net.py:Identity", input_size=(2,), task="masked-lm", memory=False)
    assert other.notices == ("task masked-lm is for models of transformers: Identity stays as it is",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(modelsum_cli, here: Path) -> None:
    (here / "net.pt2").touch(0o000)
    done = modelsum_cli("show", "net.pt2")
    assert (done.code, "net.pt2 cannot be read: permission denied" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"model_type": "mistrall"}, "Did you mean mistral"),
        (
            {"model_type": "own", "auto_map": {"AutoModel": "own.Model"}},
            "(auto_map), which modelsum does not run",
        ),
        ({"model_type": 3}, "does not say a model_type"),
    ],
)
def test_a_configuration_that_stands_for_no_model(
    modelsum_cli, here: Path, entries: dict, words: str
) -> None:
    pytest.importorskip("transformers")
    written(here / "bad_llama", **entries)
    (here / "bad_llama" / "own.py").write_text("raise SystemExit(9)")
    done = modelsum_cli("show", "./bad_llama")
    assert (done.code, done.out, words in done.err) == (2, "", True)


# ---- nothing in a file is run


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize("file", ["trap.pt", "trap.pt2", "trap.ts", "trap.onnx", "trap.gguf"])
def test_nothing_pickled_is_run(modelsum_cli, here: Path, file: str) -> None:
    (here / file).write_bytes(pickle.dumps(Trap()))
    assert modelsum_cli("show", file).code == 2
    assert not (here / "sprung").exists()


def test_pickled_inputs_of_a_program_are_not_run(modelsum_cli, here: Path, net: nn.Module) -> None:
    import zipfile

    exported(net, here / "whole.pt2")
    torch.save({"x": Trap()}, here / "trap.pt")
    with zipfile.ZipFile(here / "whole.pt2") as whole, zipfile.ZipFile(here / "net.pt2", "w") as net_file:
        for name in whole.namelist():
            trapped = "sample_inputs" in name
            net_file.writestr(name, (here / "trap.pt").read_bytes() if trapped else whole.read(name))
    done = modelsum_cli("show", "net.pt2")
    assert (done.code, "without running code" in done.err, (here / "sprung").exists()) == (2, True, False)
