"""Settings of peft's methods in its own comparison on MetaMathQA: a class of peft, and what it is given.

From huggingface/peft, method_comparison/MetaMathQA/experiments: the adapter_config.json of each, without what
is peft's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ATTENTION_TWO = ["q_proj", "v_proj"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
_PROMPT = {
    "num_attention_heads": 24,
    "num_layers": 28,
    "num_transformer_submodules": 1,
    "token_dim": 3072,
    "task_type": "CAUSAL_LM",
}
_BLOCKS = {
    "target_modules_bd_a": ["o_proj", "down_proj"],
    "target_modules_bd_b": ["q_proj", "v_proj", "k_proj", "up_proj", "gate_proj"],
    "nblocks": 2,
}
_RANKS = {name: 896 if name[0] in "kv" else 2944 for name in (*ATTENTION, *MLP)}

Settings = tuple[str | None, Mapping[str, Any]]

#: By the experiment, without "llama-3.2-3B-". None: all weights are trained.
METHODS: Mapping[str, Settings] = {
    "full-finetuning/lr_0.00001": (None, {}),
    "adalora/rank32": (
        "AdaLoraConfig",
        {"init_r": 64, "target_r": 32, "lora_alpha": 8, "tinit": 200, "tfinal": 500, "total_step": 5000},
    ),
    **dict.fromkeys(
        ("adaptionprompt/lr_0.0005", "adaptionprompt/lr_5e-3"),
        ("AdaptionPromptConfig", {"adapter_layers": 28, "adapter_len": 100, "task_type": "CAUSAL_LM"}),
    ),
    "beft/target-v_proj": ("BeftConfig", {"target_modules": ["v_proj"]}),
    "c3a/default": ("C3AConfig", {"block_size": 64, "target_modules": ATTENTION_TWO}),
    "deft/rank32": ("DeftConfig", {"r": 32, "alpha": 128, "decomposition_method": "relu"}),
    "deft/rank32-para": ("DeftConfig", {"r": 32, "alpha": None, "decomposition_method": "qr", "para": True}),
    "delora/rank32": ("DeloraConfig", {"r": 32, "delora_lambda": 15}),
    "fourierft/default": (
        "FourierFTConfig",
        {"n_frequency": 1000, "scaling": 300, "target_modules": ATTENTION_TWO},
    ),
    "fourierft/n_frequency-5000": (
        "FourierFTConfig",
        {"n_frequency": 5000, "scaling": 300, "target_modules": ATTENTION_TWO},
    ),
    "glora/default": (
        "GloraConfig",
        {
            "r": 8,
            "config_A_B": "lora",
            "config_C": "lora",
            "config_D_E": "constant",
            "target_modules": ATTENTION_TWO,
        },
    ),
    "glora/vector-paths": (
        "GloraConfig",
        {
            "r": 8,
            "config_A_B": "vector",
            "config_C": "vector",
            "config_D_E": "constant",
            "target_modules": ATTENTION_TWO,
        },
    ),
    "gralora/rank32": ("GraloraConfig", {"r": 32, "alpha": 64, "gralora_k": 2}),
    "hira/rank32-lr4.5e-3": ("HiraConfig", {"r": 32, "target_modules": ATTENTION_TWO}),
    **dict.fromkeys(("ia3/default", "ia3/lr_0.001"), ("IA3Config", {})),
    "ia3/all-attn-5k-lr0.005": (
        "IA3Config",
        {"target_modules": [*ATTENTION, *MLP], "feedforward_modules": MLP},
    ),
    "lily/rank896-a2-b2-s2.0": (
        "LilyConfig",
        {"r": 896, "num_B": 2, "stride_A": 14, "scaling": 2.0, "target_modules": ATTENTION_TWO},
    ),
    "lily/rank140-mlp-a2-b2-s8.0": (
        "LilyConfig",
        {"r": 140, "num_B": 2, "stride_A": 14, "scaling": 8.0, "target_modules": MLP},
    ),
    "ln_tuning/default": ("LNTuningConfig", {}),
    "lora/rank10-target-mlp": ("LoraConfig", {"r": 10, "lora_alpha": 20, "target_modules": MLP}),
    "lora/rank14-target-mlp-bdlora": (
        "LoraConfig",
        {"r": 14, "lora_alpha": 28, "target_modules": MLP, "use_bdlora": _BLOCKS},
    ),
    "lora/rank32": ("LoraConfig", {"r": 32, "lora_alpha": 64}),
    "lora/rank32-dora": ("LoraConfig", {"r": 32, "lora_alpha": 64, "use_dora": True}),
    "lora/rank64": ("LoraConfig", {"r": 64, "lora_alpha": 128}),
    "lora/rank64-rslora": ("LoraConfig", {"r": 64, "lora_alpha": 64, "use_rslora": True}),
    "miss/default": ("MissConfig", {"r": 64}),
    "miss/bat": ("MissConfig", {"r": 64, "init_weights": "bat"}),
    "miss/mini": ("MissConfig", {"r": 64, "mini_r": 64, "init_weights": "mini"}),
    "oft/rank32": ("OFTConfig", {"r": 32, "oft_block_size": 0, "target_modules": ATTENTION_TWO}),
    "osf/rank128": ("OSFConfig", {"target_modules": [*ATTENTION, *MLP], "rank_pattern": _RANKS}),
    "peanut/rank32-relu-depth0-s2.0": (
        "PeanutConfig",
        {"r": 32, "act_fn": "relu", "depth": 0, "scaling": 2.0, "target_modules": ATTENTION_TWO},
    ),
    "peanut/rank1-relu-depth0-s32.0": (
        "PeanutConfig",
        {"r": 1, "act_fn": "relu", "depth": 0, "scaling": 32.0, "target_modules": ATTENTION_TWO},
    ),
    **dict.fromkeys(
        ("prefixtuning/lr_0.001", "prefixtuning/lr_0.005_zero_init"),
        ("PrefixTuningConfig", {"num_virtual_tokens": 200, "encoder_hidden_size": 3072, **_PROMPT}),
    ),
    "prefixtuning/tokens50-init_prefix-lr_0.005": (
        "PrefixTuningConfig",
        {"num_virtual_tokens": 50, "encoder_hidden_size": 3072, **_PROMPT},
    ),
    **dict.fromkeys(
        ("prompt_tuning/default", "prompt_tuning/lr_0.001", "prompt_tuning/sample_vocab-lr_0.001"),
        ("PromptTuningConfig", {"num_virtual_tokens": 200, **_PROMPT}),
    ),
    "psoft/default": ("PsoftConfig", {"r": 256, "psoft_alpha": 256}),
    "ptuning/default": (
        "PromptEncoderConfig",
        {"num_virtual_tokens": 20, "encoder_hidden_size": 3072, "encoder_num_layers": 2, **_PROMPT},
    ),
    "pvera/default": ("PveraConfig", {"r": 256}),
    "randlora/default": ("RandLoraConfig", {"r": 32, "randlora_alpha": 640}),
    "road/lr_0.001": ("RoadConfig", {"variant": "road_2", "group_size": 64}),
    "trainable_tokens/sos+eos": (
        "TrainableTokensConfig",
        {"token_indices": [128000, 128001], "task_type": "CAUSAL_LM"},
    ),
    "vera/default": ("VeraConfig", {"r": 256}),
}
