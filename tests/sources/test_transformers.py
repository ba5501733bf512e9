"""transformers/MODEL_TYPE and transformers/DIR: which model it is, and what it is called with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from every_day import every_nth

from modelsum import spec, summarize
from modelsum.errors import ArgumentError, BuildError, ForwardError, UnknownModelError, UsageError
from modelsum.sources import installed, resolve
from modelsum.sources.transformers import source

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
META = torch.device("meta")

# Small configurations, one for each kind of input: (MODEL, arguments, the default input).
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
DECODER = TEXT | {"num_key_value_heads": 2, "vocab_size": 256}
VISION = TEXT | {"image_size": 32, "patch_size": 8}
KINDS: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "bert": (TEXT, {"input_ids": (1, 128)}),
    "bert:BertForMaskedLM": (TEXT, {"input_ids": (1, 128)}),
    "gpt2": ({"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, {"input_ids": (1, 64)}),
    "llama:LlamaForCausalLM": (DECODER, {"input_ids": (1, 128)}),
    "mixtral": (DECODER | {"num_local_experts": 4}, {"input_ids": (1, 128)}),
    "t5": (
        {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_kv": 8, "d_ff": 64},
        {"input_ids": (1, 128), "decoder_input_ids": (1, 128)},
    ),
    "vit": (VISION, {"pixel_values": (1, 3, 32, 32)}),
    "convnext": (
        {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
        {"pixel_values": (1, 3, 224, 224)},
    ),
    "clip": (
        {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16},
        {"pixel_values": (1, 3, 32, 32), "input_ids": (1, 77)},
    ),
    "llava": (
        {
            "text_config": DECODER | {"model_type": "llama", "vocab_size": 40000},
            "vision_config": VISION | {"model_type": "clip_vision_model"},
        },
        {"pixel_values": (1, 3, 32, 32), "input_ids": (1, 16 + 128)},
    ),
    "whisper": (
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_source_positions": 100,
        },
        {"input_features": (1, 80, 200), "decoder_input_ids": (1, 128)},
    ),
    "wav2vec2": (
        TEXT | {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
        {"input_values": (1, 16000)},
    ),
    "videomae": (VISION | {"num_frames": 4}, {"pixel_values": (1, 4, 3, 32, 32)}),
    "mamba": ({"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, {"input_ids": (1, 128)}),
}


@pytest.mark.parametrize("name", every_nth(KINDS, 2))
def test_params_and_macs_are_those_that_torch_counts(name: str) -> None:
    """params is the sum of numel(), MACs half of FlopCounterMode's flops, the input is the expected one."""
    from torch.utils.flop_counter import FlopCounterMode

    from modelsum.trace.values.known_values import carried

    arguments, shapes = KINDS[name]
    summary = summarize(f"transformers/{name}", model_args=arguments, device="meta")
    model = spec.parse_model(f"transformers/{name}")
    loaded = source.load(model, arguments, META)
    assert loaded.example is not None
    args, kwargs = loaded.example(1, None, META)
    assert {k: tuple(v.shape) for k, v in kwargs.items()} == shapes
    # The counter does not know the grouped matmul of a mixture of experts: each token times one expert.
    ops = (("aten", "_grouped_mm"), ("transformers", "grouped_mm_fallback"))
    found = (getattr(getattr(torch.ops, namespace), name, None) for namespace, name in ops)
    grouped = {op: lambda a, b, *_, **__: 2 * a[0] * b[1] * b[2] for op in found if op is not None}
    counter = FlopCounterMode(display=False, custom_mapping=grouped)
    with torch.no_grad(), carried(), counter:
        loaded.model.eval()(*args, **kwargs)
    assert summary.totals.params == sum(p.numel() for p in loaded.model.parameters())
    assert summary.totals.macs == counter.get_total_flops() // 2
    assert summary.uncounted_ops == {}


def test_bert_has_the_published_number_of_parameters() -> None:
    """BERT-base: 110 M (Devlin et al. 2018, section 3)."""
    summary = summarize("transformers/bert", device="meta")
    assert summary.totals.params == 109_482_240
    assert summary.model.class_name == "BertModel"
    assert summary.model.source == "transformers"


def test_a_batch_and_a_sequence_length_reach_the_input() -> None:
    summary = summarize("transformers/bert", model_args=TEXT, device="meta", batch=3, sequence_length=20)
    assert [i.shape for i in summary.inputs] == [(3, 20)]


def test_on_the_cpu_the_input_can_be_run_and_costs_the_same() -> None:
    on_meta = summarize("transformers/bert", model_args=TEXT, device="meta")
    on_cpu = summarize("transformers/bert", model_args=TEXT, device="cpu")
    assert on_cpu.totals == on_meta.totals


def test_experts_are_counted_once_a_selected_token() -> None:
    """Mixtral: 2 of its experts a token, 3 matrices of hidden_size x intermediate_size each."""
    one, two = (
        summarize(
            "transformers/mixtral", model_args=KINDS["mixtral"][0] | {"num_experts_per_tok": n}, device="meta"
        )
        for n in (1, 2)
    )
    assert two.totals.macs - one.totals.macs == 2 * 128 * 3 * 32 * 64  # layers, tokens, matrices
    assert two.totals.params == one.totals.params


# ---- what goes with a text


LLAVA = KINDS["llava"][0]
IDEFICS3 = {
    "text_config": DECODER | {"model_type": "llama", "pad_token_id": 0},
    "vision_config": TEXT | {"image_size": 40, "patch_size": 8},
    "image_token_id": 9,
}
GEMMA3 = {
    "text_config": DECODER | {"head_dim": 8, "sliding_window": 64},
    "vision_config": VISION,
    "image_token_index": 99,
}


def test_features_are_counted_without_dropping_layers_at_random() -> None:
    """A tower is asked for its features in eval mode, and is in train mode afterwards as it was before."""
    loaded = source.load(spec.parse_model("transformers/llava"), LLAVA, META)
    assert loaded.example is not None
    tower = loaded.model.get_submodule("vision_tower")
    modes: list[bool] = []
    tower.register_forward_hook(lambda module, *_: modes.append(module.training))
    loaded.model.train()
    loaded.example(1, None, META)
    assert modes == [False]
    assert tower.training


def test_images_are_given_where_a_model_looks_for_padding_among_them() -> None:
    """Idefics3 leaves out images of zeros: the default one has values, and as many patches as it merges."""
    summary = summarize("transformers/idefics3", model_args=IDEFICS3, device="meta")
    shapes = {i.name: i.shape for i in summary.inputs}
    assert shapes == {"pixel_values": (1, 1, 3, 32, 32), "input_ids": (1, 4 + 128)}


def test_a_tower_that_fails_is_reported_with_everything_before_it() -> None:
    """4 x 4 patches cannot be pooled to 16 x 16 tokens: the forward says so, with rows and parameters."""
    with pytest.raises(ForwardError, match="avg_pool") as caught:
        summarize("transformers/gemma3", model_args=GEMMA3, device="meta")
    assert caught.value.summary.totals.params > 0
    assert any(layer.path == "vision_tower" for layer in caught.value.summary.layers)


def test_parts_of_models_are_given_what_the_rest_would_make() -> None:
    """The Q-Former of BLIP-2: 32 queries, and the 257 features of its vision model."""
    arguments = TEXT | {"encoder_hidden_size": 48}
    summary = summarize("transformers/blip_2_qformer", model_args=arguments, device="meta")
    shapes = {i.name: i.shape for i in summary.inputs}
    assert shapes == {"query_embeds": (1, 32, 32), "encoder_hidden_states": (1, 257, 48)}


# ---- folders


def config_in(folder: Path, **entries: Any) -> str:
    (folder / "config.json").write_text(json.dumps(entries))
    return f"transformers/{folder}"


def test_a_folder_is_built_as_its_config_says(tmp_path: Path) -> None:
    """The class is the one that `architectures` names."""
    model = config_in(tmp_path, model_type="bert", architectures=["BertForMaskedLM"], **TEXT)
    summary = summarize(model, device="meta")
    assert summary.model.class_name == "BertForMaskedLM"
    assert (
        summary.totals.params
        == summarize("transformers/bert:BertForMaskedLM", model_args=TEXT, device="meta").totals.params
    )


def test_a_folder_with_unknown_architectures_gets_the_base_model(tmp_path: Path) -> None:
    model = config_in(tmp_path, model_type="bert", architectures=["MyBert"], **TEXT)
    assert summarize(model, device="meta").model.class_name == "BertModel"


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bert").mkdir()
    config_in(tmp_path / "bert", model_type="bert", **TEXT)
    monkeypatch.chdir(tmp_path)
    assert summarize("transformers/./bert", device="meta").totals.params < 2_000_000
    assert summarize("transformers/bert", device="meta").totals.params == 109_482_240  # the model type


def test_arguments_are_merged_into_a_folder_s_config(tmp_path: Path) -> None:
    model = config_in(tmp_path, model_type="clip", text_config=TEXT, vision_config=VISION)
    summary = summarize(model, model_args={"text_config": {"num_hidden_layers": 1}}, device="meta")
    depths = [layer.path for layer in summary.layers if layer.path.endswith("self_attn")]
    assert len(depths) == 1 + 2  # one in the text model; the vision model keeps its two


def test_weights_beside_a_config_are_not_read(tmp_path: Path) -> None:
    model = config_in(tmp_path, model_type="bert", **TEXT)
    (tmp_path / "model.safetensors").write_bytes(b"not a weights file")
    assert summarize(model, device="meta").executed


def test_code_beside_a_config_is_never_run(tmp_path: Path) -> None:
    """A model type that transformers does not know is refused; one that it knows is its own."""
    (tmp_path / "modeling_x.py").write_text("raise SystemExit('was run')")
    unknown = config_in(tmp_path, model_type="x", auto_map={"AutoModel": "modeling_x.X"})
    with pytest.raises(UsageError, match="code of its own"):
        summarize(unknown, device="meta")
    known = config_in(tmp_path, model_type="bert", auto_map={"AutoModel": "modeling_x.X"}, **TEXT)
    assert any("auto_map" in notice for notice in summarize(known, device="meta").notices)


@pytest.mark.parametrize("content", ["[]", "{}", "{"])
def test_a_config_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"config\.json"):
        summarize(f"transformers/{tmp_path}", device="meta")


def test_a_missing_folder_is_not_looked_for_on_the_net() -> None:
    with pytest.raises(UsageError, match="no folder") as caught:
        summarize("transformers/google-bert/bert-base-uncased", device="meta")
    assert "downloaded" in str(caught.value.hint)


# ---- words


def test_an_unknown_model_type_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownModelError) as caught:
        summarize("transformers/berd", device="meta")
    assert "bert" in str(caught.value.hint)


def test_an_unknown_head_class_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownModelError) as caught:
        summarize("transformers/bert:BertForMaskedLN", device="meta")
    assert "BertForMaskedLM" in str(caught.value.hint)


def test_a_head_class_of_another_model_is_refused() -> None:
    with pytest.raises(UsageError, match="does not take a BertConfig"):
        summarize("transformers/bert:LlamaForCausalLM", device="meta")


def test_a_head_class_for_a_part_takes_that_part_of_the_config() -> None:
    summary = summarize(
        "transformers/clip:CLIPVisionModel", model_args={"vision_config": VISION}, device="meta"
    )
    assert [i.name for i in summary.inputs] == ["pixel_values"]


def test_an_unknown_argument_is_answered_with_near_ones() -> None:
    for arguments in ({"hiden_size": 32}, {"text_config": {"hiden_size": 32}}):
        name = "clip" if "text_config" in arguments else "bert"
        with pytest.raises(ArgumentError) as caught:
            summarize(f"transformers/{name}", model_args=arguments, device="meta")
        assert "hidden_size" in str(caught.value.hint)


def test_an_argument_that_the_config_refuses_is_the_user_s() -> None:
    with pytest.raises(ArgumentError, match="hidden_size='wide'"):
        summarize("transformers/bert", model_args={"hidden_size": "wide"}, device="meta")


def test_a_configuration_of_a_part_without_a_model_class_says_so() -> None:
    with pytest.raises(BuildError, match="no model class"):
        summarize("transformers/sam_mask_decoder", device="meta")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "folder", lambda package: None)
    model = spec.parse_model("transformers/bert")
    assert resolve(model) is source
    with pytest.raises(UsageError) as caught:
        source.load(model, {}, META)
    assert "pip install 'modelsum[transformers]'" in str(caught.value.hint)


def test_names_are_those_of_the_installed_package() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    assert set(source.names()) == set(CONFIG_MAPPING_NAMES)


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_knowing_a_name_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from modelsum.spec import parse_model; "
        "from modelsum.sources.transformers import source; "
        "assert source.knows(parse_model('bert')) and not source.knows(parse_model('berd')); "
        "assert source.names(); "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    assert in_a_new_process(code) == "set()"


@pytest.mark.slow
def test_a_70_billion_llama_takes_less_than_2_gib() -> None:
    """Llama 3 70B (Dubey et al. 2024, table 3) on 8192 tokens: MACs are weights x tokens, and attention."""
    code = """
from pathlib import Path
from modelsum import summarize
s = summarize("transformers/llama:LlamaForCausalLM", device="meta", sequence_length=8192, model_args={
    "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "intermediate_size": 28672, "vocab_size": 128256})
# Not getrusage: that begins with what the process had before it became this program.
(most,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(s.totals.params, s.totals.macs, int(most.split()[1]) * 1024)
"""
    params, macs, peak = map(int, in_a_new_process(code).split())
    assert params == 70_553_706_496
    weights = params - 128256 * 8192 - (2 * 80 + 1) * 8192  # but the embedding and the norms
    attention = 80 * 64 * 8192 * 8192 * (128 + 128)
    assert macs == 8192 * weights + attention
    assert peak < 2 * 2**30


def test_quantized_weights_that_are_not_applied_are_told(tmp_path: Path) -> None:
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    entries = {"model_type": "llama", **small, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    notices = summarize(f"{tmp_path}/", memory=False).notices
    assert any("the quantization_config (gptq) is not applied" in notice for notice in notices)
