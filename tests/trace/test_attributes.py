"""What a module says of its own configuration."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from hand_made_summary import TINY
from torch import nn

import modelsum
from modelsum.trace.attributes import attributes


def test_a_convolutions_attributes_are_its_settings():
    assert attributes(nn.Conv2d(3, 8, (1, 3), stride=2, bias=False, padding_mode="reflect")) == {
        "dilation": (1, 1),
        "groups": 1,
        "in_channels": 3,
        "kernel_size": (1, 3),
        "out_channels": 8,
        "output_padding": (0, 0),
        "padding": (0, 0),
        "padding_mode": "reflect",
        "stride": (2, 2),
        "transposed": False,
    }


def test_they_stand_in_alphabetical_order_whatever_the_constructors_order():
    module = nn.Module()
    module.b, module.a = 1, 2
    assert list(attributes(module)) == ["a", "b"]


def test_private_names_modules_tensors_objects_and_the_mode_are_none():
    module = nn.Module()
    module.child, module.tensor, module.object = nn.Identity(), torch.zeros(1), object()
    module._private, module.nested, module.training = 1, ((1, 2), 3), True
    assert attributes(module) == {}


def test_data_is_no_setting():
    module = nn.Module()
    module.vocabulary, module.text = tuple(range(101)), "x" * 101
    module.sizes, module.name = tuple(range(100)), "x" * 100
    assert list(attributes(module)) == ["name", "sizes"]


def test_a_float_that_is_not_finite_is_its_name():
    """JSON has no infinity, and a NaN would differ from itself."""
    module = nn.Module()
    module.eps, module.clip, module.range = math.nan, math.inf, (0.5, -math.inf)
    assert attributes(module) == {"clip": "inf", "eps": "nan", "range": (0.5, "-inf")}


def test_every_layer_of_a_summary_has_them():
    model = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.25))
    summary = modelsum.summarize(model, torch.zeros(1, 4), memory=False)
    assert [dict(layer.attributes) for layer in summary.layers] == [
        {},
        {"in_features": 4, "out_features": 2},
        {"inplace": False, "p": 0.25},
    ]
    assert summary.to_dict()["layers"][1]["attributes"] == {"in_features": 4, "out_features": 2}


def test_trainable_parameters_are_counted_once_too():
    """8 + 2 of `first`; `second` has the weight of `first` and 2 frozen elements of its own."""
    first, second = nn.Linear(4, 2), nn.Linear(4, 2)
    second.weight = first.weight
    second.bias.requires_grad_(False)
    model = nn.ModuleDict({"first": first, "second": second})
    model.forward = lambda x: first(x) + second(x)
    summary = modelsum.summarize(model, torch.zeros(1, 4), memory=False)
    assert [(layer.counted_params, layer.counted_trainable_params) for layer in summary.layers] == [
        (0, 0),
        (10, 10),
        (2, 0),
    ]


def test_constructor_arguments_are_in_the_summary_as_json_has_them():
    class Key:
        pass

    model = modelsum.Model("x", "imported", "X", {"sizes": (1, 2), "key": Key(), "eps": math.inf})
    assert replace(TINY, model=model).to_dict()["model"]["arguments"] == {
        "sizes": [1, 2],
        "key": "<Key>",
        "eps": "inf",
    }
