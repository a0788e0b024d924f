"""Which device, which precision, and whose random numbers."""

import pytest
import torch

from tabgraa_sklearn._device import (
    autocast,
    choose_device,
    choose_precision,
    private_torch_modes,
    private_torch_seed,
)

CPU = torch.device("cpu")


def test_a_device_is_chosen_by_what_there_is(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device(None) == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None) == torch.device("cuda")


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_a_device_that_is_there_is_taken(device):
    assert choose_device(device).type == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "nowhere", "", "cpu:x", torch.device("cuda:99")])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError) as raised:
        choose_device(device)
    assert str(raised.value) == (
        f"device must be None or a device of this machine such as 'cpu' or 'cuda'; got {device!r}."
    )


def test_a_device_must_hold_data():
    with pytest.raises(ValueError, match=r"^device must hold data; got 'meta'\.$"):
        choose_device("meta")


def test_deterministic_algorithms_are_for_the_fit_alone():
    memory = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    with pytest.raises(KeyError), private_torch_seed(0, CPU):
        assert torch.are_deterministic_algorithms_enabled()
        assert not memory.fill_uninitialized_memory
        raise KeyError
    assert before == (
        torch.are_deterministic_algorithms_enabled(),
        memory.fill_uninitialized_memory,
    )


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_precision_that_is_asked_for_is_taken(name):
    assert choose_precision(name, CPU) == getattr(torch, name)


@pytest.mark.parametrize(
    ("bf16", "amx", "expected"),
    [
        (False, False, torch.float32),
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
    ],
)
def test_precision_follows_the_processor(monkeypatch, bf16, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert choose_precision(None, CPU) == expected


def test_precision_is_float32_where_nothing_is_known(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert choose_precision(None, CPU) == torch.float32
    assert choose_precision(None, torch.device("mps")) == torch.float32


@pytest.mark.parametrize("supported", [True, False])
def test_precision_on_a_gpu(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: supported)
    expected = torch.bfloat16 if supported else torch.float32
    assert choose_precision(None, torch.device("cuda")) == expected


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_matrix_products_run_in_the_precision(precision):
    one = torch.ones(2, 2)
    with autocast(CPU, precision):
        assert (one @ one).dtype == precision


def modes_of_torch():
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_cache_enabled(),
    )


def test_private_modes_are_the_usual_ones_and_give_the_caller_s_back(double):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        before = modes_of_torch()
        with pytest.raises(KeyError), private_torch_modes(CPU):
            assert modes_of_torch() == (torch.float32, True, False, False, False)
            raise KeyError
        assert modes_of_torch() == before


def test_weights_that_change_are_multiplied_as_they_are():
    """An autocast within another one would multiply by the copy of a weight that it made before."""
    weight = torch.nn.Parameter(torch.ones(2, 2))
    products = []
    with torch.autocast("cpu", torch.bfloat16), private_torch_modes(CPU):
        for _ in range(2):
            with autocast(CPU, torch.bfloat16):
                products.append((torch.eye(2) @ weight).detach())
            weight.data.mul_(2.0)
    assert torch.equal(2.0 * products[0], products[1])


def test_a_private_seed_gives_the_generator_back():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    draws = []
    for _ in range(2):
        with private_torch_seed(5, CPU):
            draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(KeyError), private_torch_seed(5, CPU):
        torch.rand(1)
        raise KeyError
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("device", [CPU, torch.device("cuda")])
def test_a_private_seed_gives_the_generator_of_a_gpu_back(device):
    torch.cuda.manual_seed(1)
    before = torch.cuda.get_rng_state()
    with private_torch_seed(5, device):
        torch.rand(3, device=device)
    assert torch.equal(torch.cuda.get_rng_state(), before)
