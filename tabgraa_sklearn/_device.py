"""Which device and which precision a model runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

__all__ = [
    "autocast",
    "choose_device",
    "choose_precision",
    "private_torch_modes",
    "private_torch_seed",
]


def choose_device(device: str | torch.device | None) -> torch.device:
    """Turn the parameter `device` into a device that is there.

    Raises
    ------
    ValueError
        Where the name is unknown, or this machine lacks the device.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"device must be None or a device of this machine such as 'cpu' or 'cuda'; "
            f"got {device!r}."
        ) from error
    if chosen.type == "meta":
        raise ValueError("device must hold data; got 'meta'.")
    return chosen


def choose_precision(precision: str | None, device: torch.device) -> torch.dtype:
    """Give the dtype of matrix products: bf16 where the hardware multiplies it faster.

    The choice follows from the processor alone, never from a timing, so that equal machines
    give equal models.
    """
    if precision is not None:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    if device.type == "cpu":
        # torch has no public name for these; without them the answer is float32.
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if any(getattr(torch.cpu, test, bool)() for test in tests):
            return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Run matrix products in `precision`."""
    return torch.autocast(device.type, precision, enabled=precision is not torch.float32)


@contextmanager
def private_torch_modes(device: torch.device) -> Iterator[None]:
    """Learn in torch's usual modes for a while, whatever the caller's are.

    Gradients are on, parameters are made in single precision, and no autocast is in force.
    """
    default = torch.get_default_dtype()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        # An inner autocast would keep its copies of weights until the outer one ends, stale ones.
        torch.autocast(device.type, enabled=False, cache_enabled=False),
    ):
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(default)


@contextmanager
def private_torch_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators for a while and hand them back as they were.

    On a CPU torch's algorithms are the deterministic ones meanwhile: else several threads add
    gradients in the order in which they come, and one seed gives slightly different models.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed would seed the generators of all devices.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        enabled = torch.are_deterministic_algorithms_enabled()
        memory: Any = torch.utils.deterministic
        filled = memory.fill_uninitialized_memory
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        try:
            if device.type == "cpu":
                torch.use_deterministic_algorithms(True, warn_only=True)
                # Every new tensor would be filled before it is written to.
                memory.fill_uninitialized_memory = False
            yield
        finally:
            memory.fill_uninitialized_memory = filled
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
