"""`modelsum.generate`: every figure of a small model by hand, and what is wrong told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_llama import LLAMA

import modelsum
from modelsum.generation.formats import Format

pytest.importorskip("transformers")

#: Of a token, by hand: keys and values of 2 layers with 2 heads of 32 numbers in 2 bytes.
A_TOKEN = 2 * 2 * 2 * 32 * 2
EMBEDDINGS = 512 * 128 * 2
#: q, o: 128 x 128; k, v: 64 x 128; gate, up, down: 256 x 128.
LINEAR = 2 * (2 * 128 * 128 + 2 * 64 * 128 + 3 * 256 * 128)
NORMS = 5 * 128 * 2
#: Of 16 angles in float32, of which the model keeps two copies.
ROTATIONS = 16 * 4


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


def generated(**options) -> dict:
    return modelsum.generate("./small", **options).to_dict()


def test_the_figures_of_a_text(here: Path) -> None:
    """The cache holds 100 + 50 - 1 tokens of 3 sequences; a head and an embedding of one size each."""
    found = generated(prompt=100, new=50, batch=3)
    assert (found["kind"], found["schema_version"]) == ("generation", 1)
    assert found["weights_bytes"] == 2 * EMBEDDINGS + 2 * LINEAR + NORMS + 2 * ROTATIONS
    assert found["cache_bytes_per_token"] == A_TOKEN
    assert found["cache_bytes"] == 3 * 149 * A_TOKEN
    attention = 2 * 3 * 149 * 4 * 2 * 32  # scores and values of one token with all others
    assert found["decode_macs"] == 3 * (LINEAR + 512 * 128) + attention
    assert found["prefill_macs"] == 3 * (100 * LINEAR + 512 * 128) + 2 * 3 * 100 * 100 * 4 * 2 * 32
    # Every weight but the embedding's other rows, and the cache before the step.
    assert found["decode_read_bytes"] == (
        EMBEDDINGS + 3 * 128 * 2 + 2 * LINEAR + NORMS + ROTATIONS + 3 * 148 * A_TOKEN
    )
    assert found["peak_bytes"] == max(found["prefill_peak_bytes"], found["decode_peak_bytes"])
    assert (found["longest_context"], found["most_sequences"], found["fits"]) == (None, None, None)


@pytest.mark.parametrize(
    ("cache", "nbytes"),
    [
        ("static", 150 * A_TOKEN),  # of all tokens that there will be
        ("paged:16", 160 * A_TOKEN),
        ("quantized:fp8", 150 * A_TOKEN // 2 + 16),
        # 128 tokens in bytes, with two numbers of 2 bytes for 64 values, and 22 that wait
        ("quantized:int8", 128 * (A_TOKEN // 2) + 128 * A_TOKEN // 2 // 64 * 4 + 22 * A_TOKEN),
    ],
)
def test_kinds_of_caches(here: Path, cache: str, nbytes: int) -> None:
    found = generated(prompt=128, new=23, cache=cache)
    assert found["cache_bytes"] == pytest.approx(nbytes, abs=40)


@pytest.mark.parametrize(
    ("weights", "nbytes"),
    [
        ("int8", LINEAR + 4 * 2 * (128 + 2 * 64 + 128 + 2 * 256 + 128)),
        ("nf4", LINEAR // 2 + LINEAR // 64 * 4 + 14 * 64),
        ("int4", LINEAR // 2 + LINEAR // 128 * 4),
        ("awq", LINEAR // 2 + LINEAR // 128 * 2 + LINEAR // 128 // 2),
        ("fp8", LINEAR + 4 * 2 * (1 + 1 + 1 + 1 + 3 * 2)),
        ("float32", 4 * LINEAR),
    ],
)
def test_formats_of_weights(here: Path, weights: str, nbytes: int) -> None:
    """The linear layers of the blocks are stored so; head, embeddings and norms as they were."""
    found = generated(weights=weights, prompt=8, new=2)
    others = (2 * EMBEDDINGS + NORMS) * (2 if weights == "float32" else 1) + 2 * ROTATIONS
    assert found["weights_bytes"] == nbytes + others


def test_the_format_of_a_configuration_is_taken(here: Path) -> None:
    """And the modules that it names are left out."""
    quantized = {"quant_method": "gptq", "bits": 4, "group_size": 32, "modules_to_not_convert": ["down_proj"]}
    (here / "small" / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": quantized}))
    weights = generated(prompt=8, new=2)["weights"]
    stored = LINEAR - 2 * 256 * 128
    assert weights["words"] == "gptq, 4 bits, groups of 32"
    assert weights["parts"]["gptq values"] == stored // 2
    assert weights["parts"]["gptq scales"] == stored // 32 * 2
    assert weights["kept"]["model.layers.0.mlp.down_proj"] == "the configuration keeps 'down_proj'"


@pytest.mark.parametrize(
    ("quantized", "words"),
    [
        (
            {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 64}}},
            },
            "int4, 4 bits, groups of 64",
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "fp4, 4 bits, groups of 64"),
        ({"quant_method": "hqq", "nbits": 4}, "format 'hqq' is not known here"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "torchao int8, 8 bits"),
        ({"quant_method": "torchao", "quant_type": "uintx_weight_only"}, "'uintxweightonly' is not known"),
        ({"bits": 4}, "the configuration's format has no quant_method"),
    ],
)
def test_what_a_configuration_says_is_read_or_said(here: Path, quantized: dict, words: str) -> None:
    (here / "small" / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": quantized}))
    found = generated(prompt=8, new=2)
    assert words in " ".join((found["weights"]["words"], *found["notices"]))


def test_encoder_and_decoder_have_positions_each() -> None:
    """60 tokens are read and 8 written with 64 positions; 2 layers keep 2 times 64 numbers of 4 bytes."""
    sizes = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 2, "vocab_size": 128}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 64}
    found = modelsum.generate(
        "transformers/bart:BartForConditionalGeneration", model_args=sizes | heads, prompt=60, new=8
    )
    assert found.cache_bytes_per_token == 2 * 2 * 64 * 4
    with pytest.raises(modelsum.InputError, match="a context of 65 exceeds the model's 64 positions"):
        modelsum.generate(
            "transformers/bart:BartForConditionalGeneration", model_args=sizes | heads, prompt=60, new=64
        )


def test_experts_in_mxfp4(here: Path) -> None:
    """Half a byte of a value and a byte of 32, of the experts alone: 4 of 3 * 64 * 64, in 2 layers."""
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_local_experts": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 128}
    found = modelsum.generate(
        "transformers/gpt_oss", weights="mxfp4", model_args=sizes | heads, prompt=8, new=2
    ).to_dict()
    values = 2 * 4 * 3 * 64 * 64
    parts = found["weights"]["parts"]
    assert (parts["mxfp4 values"], parts["mxfp4 scales"]) == (values // 2, values // 32)
    assert parts["mxfp4 biases"] == 2 * 4 * 3 * 64 * 4  # in float32, whatever the model is in
    assert "mxfp4 is for experts" in found["weights"]["kept"].values()


def test_rows_of_torchao_are_those_that_it_stores(here: Path) -> None:
    """Each row with a scale in float32 and a zero point in int8, as its own tensor has them."""
    torchao = pytest.importorskip("torchao.quantization")
    import torch

    layer = torch.nn.Sequential(torch.nn.Linear(128, 256, bias=False)).bfloat16()
    torchao.quantize_(layer, torchao.Int8WeightOnlyConfig())
    weight = layer[0].weight
    stored = sum(t.nbytes for t in (weight.qdata, weight.scale, weight.zero_point))
    assert sum(Format("torchao int8", 8).parts(256, 128, 2).values()) == stored


def test_what_fits_fits(here: Path) -> None:
    """The longest context and the most sequences fit when they are asked for, and no more do."""
    room = {"target": "cpu", "memory": "4MB"}
    found = generated(prompt=100, new=28, **room)
    context, sequences = found["longest_context"], found["most_sequences"]
    assert found["room"]["context_limit"] == "memory"
    for prompt, batch, fits in (
        (context - 28, 1, True),
        (context - 28 + 64, 1, False),
        (100, sequences, True),
        (100, sequences + 1, False),
    ):
        assert generated(prompt=prompt, new=28, batch=batch, **room)["fits"] is fits


def test_a_card_gives_a_bound_of_its_speed(here: Path) -> None:
    """T4: 320 GB/s; the context ends with the positions."""
    found = modelsum.generate("./small", gpu="t4", prompt=100, new=28)
    assert found.longest_context == 4096
    assert found.least_seconds_per_token == found.decode_read_bytes / 320e9
    assert "4,096 tokens, all that the model has positions for" in str(found)
    assert "a bound: " in str(found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cache": "pagd:16"}, "cache 'pagd:16' is not known"),
        ({"cache": "paged"}, "names no size of a block"),
        ({"cache": "quantized:int3"}, "is of an unknown dtype"),
        ({"cache": "static", "kv_dtype": "fp8"}, "kv_dtype is given, and the cache is static"),
        ({"weights": "awk"}, "weights 'awk' is not known"),
        ({"prompt": 0}, "prompt 0 is not a positive whole number"),
        (
            {"model_args": {"hidden_size": 120}, "weights": "int4"},
            "no matrix of LlamaForCausalLM can be stored as int4",
        ),
        ({"memory": "24"}, "has no unit"),
        ({"prompt": "8"}, "prompt '8' is not a positive whole number"),
        ({"batch": 2.0}, "batch 2.0 is not a positive whole number"),
        ({"cache": None}, "cache None is not known"),
        ({"gpu": 3}, "gpu 3 is not in the table"),
        ({"task": 3}, "unknown task 3"),
    ],
)
def test_wrong_words_are_told(here: Path, options: dict, words: str) -> None:
    with pytest.raises(modelsum.UsageError) as error:
        generated(**options)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [("resnet18", "is no model of transformers"), ("transformers/vit", "no class of vit for generation")],
)
def test_a_model_that_writes_no_text(model: str, words: str) -> None:
    with pytest.raises(modelsum.UsageError) as error:
        modelsum.generate(model)
    assert words in str(error.value)


def test_more_tokens_than_positions_are_told_with_what_the_code_does(here: Path) -> None:
    computed = generated(prompt=5000, new=10)["notices"]
    assert "a context of 5,010 exceeds the model's 4,096 positions: it computes positions" in computed[-1]
    with pytest.raises(modelsum.InputError, match="positions up in a table, and a real run ends there"):
        modelsum.generate("transformers/gpt2", prompt=2000, model_args={"n_layer": 1})
