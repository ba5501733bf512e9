"""A small network that a sweep can ask for many things that models do; copied to where tests need it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    """Width times 9 parameters; a file beside it says how many times over, where there is one."""

    def __init__(self, width: int = 1, how: str = "") -> None:
        super().__init__()
        if how == "exits":
            os._exit(3)
        if how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hangs":
            time.sleep(600)
        if how == "eats":
            self.held = [torch.ones(1 << 24, device="cpu") for _ in range(10_000)]
        if how == "raises":
            raise ValueError("no\nwidth")
        if how == "takes its time":
            time.sleep(0.05)
        file = Path(__file__).with_name("times.json")
        times = json.loads(file.read_text()) if file.exists() else 1
        self.linear = nn.Linear(8, times * width).requires_grad_(how != "is frozen")
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "raises with gradients" and torch.is_grad_enabled():
            raise ValueError("no gradients, please")
        return self.linear(x)
