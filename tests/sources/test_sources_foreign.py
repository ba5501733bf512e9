"""Files, folders and addresses that are no model: each is told what it is, what reads it, what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelsum.sources.foreign import model_type


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(cli, model: str) -> str:
    """What is said of a MODEL that there is nothing to show of: never a name that it is near to."""
    done = cli("show", model)
    assert (done.code, done.out) == (2, "")
    return done.err.removeprefix("modelsum: error: ")


@pytest.mark.parametrize(
    ("name", "what", "reader"),
    [
        ("m.ts", "no archive of TorchScript", "torch.jit.save"),
        ("M.TFLITE", "a model for LiteRT", "LiteRT"),
        ("m.ggml", "a file of weights for llama.cpp", "llama.cpp"),
        ("m.h5", "a model or weights of Keras", "Keras"),
        ("m.ckpt", "a checkpoint of a training run", "torch.load"),
        ("m.tflite", "a model for LiteRT", "LiteRT"),
        ("m.json", "a configuration file", "a function that returns the model"),
        ("m.yaml", "a configuration file", "a function that returns the model"),
        ("m.ipynb", "a notebook", "FILE.py:NAME"),
        ("m.jpg", "an image", "package.module:attribute"),
        ("m.xyz", "a file of an unknown kind", "package.module:attribute"),
        ("m", "a file of an unknown kind", "package.module:attribute"),
    ],
)
def test_a_file_that_is_there(modelsum_cli, here: Path, name: str, what: str, reader: str) -> None:
    (here / "sub").mkdir()
    for file in (here / name, here / "sub" / name):
        file.write_text("not looked at")
    ways = (name, f"./{name}", f"sub/{name}", f"{here}/{name}")
    for written in ways if name in ("m.ggml", "m") else ways[:1]:
        said = refused(modelsum_cli, written)
        assert said.startswith(f"{written!r} is {what}")
        assert "which modelsum does not read\n" in said
        assert reader in said.splitlines()[1]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"peft_type": "LORA"}', "the configuration of a PEFT adapter"),
        ('{"model_type": "llama"}', "a configuration of transformers by another name"),
        ('{"_class_name": "UNet2DModel"}', "a configuration of diffusers"),
        ('{"schema_version": 1, "kind": "summary"}', "a report of modelsum"),
        ("[1]", "a configuration file"),
    ],
)
def test_a_json_file_is_told_by_what_is_in_it(modelsum_cli, here: Path, content: str, what: str) -> None:
    (here / "some.json").write_text(content)
    assert refused(modelsum_cli, "some.json").startswith(f"'some.json' is {what}")


@pytest.mark.parametrize(
    ("file", "what", "hint"),
    [
        ("model_index.json", "a pipeline of diffusers", "one of its modules"),
        ("adapter_config.json", "a PEFT adapter", "peft"),
        ("__init__.py", "a package", "package.module:attribute"),
        ("weights.bin", "a folder without a config.json", "package.module:attribute"),
    ],
)
def test_a_folder_is_told_by_what_is_in_it(modelsum_cli, here: Path, file: str, what: str, hint: str) -> None:
    (here / "folder").mkdir()
    (here / "folder" / file).write_text("{}")
    for written in ("folder", "./folder", "folder/"):
        said = refused(modelsum_cli, written)
        assert said.startswith(f"{written!r} is {what}")
        assert hint in said


def test_a_documented_name_is_no_folder_of_that_name(modelsum_cli, here: Path) -> None:
    (here / "resnet18").mkdir()
    assert modelsum_cli("show", "resnet18", "--depth", "0", "--no-memory").code == 0


def test_a_python_file_without_an_attribute_says_what_it_has(modelsum_cli, here: Path) -> None:
    """It is read for that, and not run."""
    (here / "nets.py").write_text(
        "raise SystemExit\nclass Net: pass\ndef make(): pass\nnet = make()\n_no = 1\n"
    )
    said = refused(modelsum_cli, "nets.py")
    assert said.startswith("'nets.py' names a file but no attribute in it\nWrite nets.py:NAME")
    assert said.endswith("It has Net, make, net.\n")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no.onnx", "there is no file or folder 'no.onnx'"),
        ("mo.onnx", "Did you mean m.onnx?"),
        ("./no", "there is no file or folder './no'"),
        ("folder/no", "there is no file or folder 'folder/no'"),
        ("a/b/no", "there is no 'a/b/no': there is no folder 'a/b'"),
        ("/no/such/model", "there is no folder '/no/such'"),
        ("C:\\models\\no.onnx", "there is no file or folder 'C:"),
        ("no.py", "there is no file 'no.py'"),
        ("no.py:Net", "there is no file 'no.py'"),
        ("no.safetensors", "there is no weights file 'no.safetensors'"),
    ],
)
def test_a_path_that_is_not_there(modelsum_cli, here: Path, model: str, words: str) -> None:
    (here / "folder").mkdir()
    (here / "m.onnx").touch()
    assert words in refused(modelsum_cli, model)


# ---- addresses and names of elsewhere


@pytest.mark.parametrize(
    "model", ["google/vit-base-patch16-224", "https://huggingface.co/google/vit-base-patch16-224"]
)
def test_a_model_of_the_hub(modelsum_cli, model: str) -> None:
    pytest.importorskip("transformers")
    said = refused(modelsum_cli, model)
    assert said.startswith(
        f"{model!r} looks like a model of the Hugging Face Hub, and nothing is downloaded\n"
    )
    assert "Write hf:google/vit-base-patch16-224 for this very model" in said
    assert "transformers/vit for" in said


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("vit-base-patch16-224", "vit"),
        ("Meta-Llama-3-8B", "llama"),
        ("Qwen2.5-7B", "qwen2"),
        ("flan-t5-base", "t5"),
        ("blip2-opt-2.7b", "blip-2"),
        ("roberta-base", "roberta"),
        ("optimus", None),
    ],
)
def test_the_model_type_that_a_name_of_the_hub_tells(name: str, type_: str | None) -> None:
    assert model_type(name, ["vit", "llama", "qwen2", "t5", "opt", "blip-2", "bert", "roberta"]) == type_


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("tim/resnet50", "unknown provider 'tim' in 'tim/resnet50'\nDid you mean timm/resnet50?"),
        ("torchvison/x:Head", "Did you mean torchvision/x:Head?"),
        ("some/thing", "Providers are documented, "),
        ("bert-base-uncased", "Did you mean transformers/bert?"),
        ("torchvision.models.resnet50", "Did you mean torchvision.models:resnet50?"),
        ("https://example.org/model.pt", "is an address, and nothing is downloaded"),
        ("s3://models/resnet", "is an address, and nothing is downloaded"),
        ("transformers/google/vit-base-patch16-224", "a model type like transformers/vit."),
    ],
)
def test_names_that_are_nearly_right(modelsum_cli, model: str, words: str) -> None:
    pytest.importorskip("transformers")
    assert words in refused(modelsum_cli, model)
