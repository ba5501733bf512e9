"""What a process takes of a GPU's memory, all of it: by NVML, the library behind nvidia-smi."""

from __future__ import annotations

import os
from typing import Any

import torch

_INSTALL = "nvidia-ml-py is not installed (pip install 'modelsum[cuda]')"


class ProcessMemory:
    """The memory of this process on one device: the CUDA context and loaded kernels are in it.

    NVML knows it by process. Where it does not tell (in a container processes have other numbers, and some
    drivers keep it to themselves), it is how much more of the device is in use than before CUDA was
    started. That is known only if this object was made before, and nobody else changed what he uses.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._nvml, self._reason = _started()
        self._before: dict[str, int] = {}
        if self._nvml and not torch.cuda.is_initialized():
            self._before = _in_use(self._nvml)

    def bytes_now(self) -> tuple[int | None, str | None]:
        """The bytes, or None and the reason why they are not known."""
        if self._nvml is None:
            return None, self._reason
        identity = _identity(self._device)
        if identity is None:
            return None, "this version of torch does not tell which device NVML's is"
        try:
            handle = self._nvml.nvmlDeviceGetHandleByUUID(identity)
            for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    return int(process.usedGpuMemory), None
            if identity not in self._before:
                return None, "NVML does not tell it by process, and CUDA was running before"
            return int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) - self._before[identity], None
        except self._nvml.NVMLError as error:
            return None, f"NVML: {error}"


def _started() -> tuple[Any, str | None]:
    try:
        import pynvml
    except ImportError:
        return None, _INSTALL
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
    return pynvml, None


def _in_use(nvml: Any) -> dict[str, int]:
    """Bytes in use of every device, by its identity."""
    used = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        used[_text(nvml.nvmlDeviceGetUUID(handle))] = int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
    return used


def _identity(device: torch.device) -> str | None:
    """The device's identity as NVML writes it; torch's numbers count visible devices alone."""
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"GPU-{uuid}" if uuid is not None else None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # old versions give bytes
