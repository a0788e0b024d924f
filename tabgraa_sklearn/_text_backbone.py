"""Pretrained language models from a hub, a folder or a file: settings, and safe loading."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D
from transformers.utils import cached_file

from ._sizes import Sizes
from ._text_layout import TextLayout
from ._text_model import TextModel
from ._text_tokenizer import TextTokenizer

__all__ = ["TextBackbone", "TextRecipe"]


@dataclass(frozen=True)
class TextBackbone:
    """A pretrained language model that reads rows as text, with its settings.

    ``TabGRAASynthesizer(backbone="distilgpt2")`` is short for
    ``TabGRAASynthesizer(backbone=TextBackbone("distilgpt2"))``.

    Parameters
    ----------
    name_or_path : str or Path
        A name on the Hugging Face hub, a folder with ``config.json``, ``model.safetensors`` and
        the tokenizer's files, or a ``.gguf`` file. Code that comes with a model is never run, and
        weights in pickles are not read. The model must be a causal one whose logits are its last
        states times its output embedding (not scaled, as Granite's and Cohere's are) and that
        reads a text piece by piece with a key/value cache, at the positions that it is told (not
        Mamba, MPT, or windows shorter than a row): GPT-2, OPT, Llama, Qwen, Gemma, Phi, SmolLM
        and most others. Another is refused by `fit`.
    lora_rank : int, default=None
        None: all weights are trained. An int: low-rank adapters of this rank beside frozen
        weights, which all copies share (needs ``pip install tabgraa-sklearn[lora]``).
    decimals : int, default=None
        Decimals that numbers of many values are written with at the most, for the model: what it
        draws comes back as the column's nearest number, and numbers that are written alike share
        their likelihood. None: those of the column; floats without a last decimal get six digits
        of their spread.
    max_values : int, default=256
        Up to so many distinct numbers a column holds nothing but these; of more, any number
        between the smallest and the largest may come.
    micro_batch_size : int, default=16
        Rows of which activations are kept at a time; a larger batch goes in parts, for a third
        more time. Gradients are those of the whole batch.

    Examples
    --------
    >>> from tabgraa_sklearn import TabGRAASynthesizer, TextBackbone
    >>> TabGRAASynthesizer(backbone=TextBackbone("distilgpt2", decimals=2)).backbone.decimals
    2

    References
    ----------
    Borisov et al., "Language Models are Realistic Tabular Data Generators", ICLR 2023.
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    """

    name_or_path: str | os.PathLike[str]
    lora_rank: int | None = None
    decimals: int | None = None
    max_values: int = 256
    micro_batch_size: int = 16

    def __post_init__(self) -> None:
        """Check the settings."""
        if not isinstance(self.name_or_path, str | os.PathLike):
            raise ValueError(
                f"TextBackbone: name_or_path must be a str or a path; got {self.name_or_path!r}."
            )
        least = {"lora_rank": 1, "decimals": 0, "max_values": 1, "micro_batch_size": 1}
        for name, low in least.items():
            value = getattr(self, name)
            optional = name in ("lora_rank", "decimals")
            if value is None and optional:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
                raise ValueError(
                    f"TextBackbone: {name} must be {'None or ' * optional}an int of at least "
                    f"{low}; got {value!r}."
                )


class TextRecipe:
    """Makes tokenizer and model of a text backbone."""

    def __init__(self, settings: TextBackbone) -> None:
        self.settings = settings

    def tokenizer(self, column_kinds: Mapping[Hashable, str] | None) -> TextTokenizer:
        """Give an unfitted tokenizer."""
        settings = self.settings
        return TextTokenizer(
            _load_tokenizer(settings.name_or_path),
            decimals=None if settings.decimals is None else int(settings.decimals),
            max_values=int(settings.max_values),
            column_kinds=column_kinds,
        )

    def model(self, layout: TextLayout, n_rows: int) -> TextModel:
        """Give the pretrained model, on the CPU."""
        settings = self.settings
        language = _load_model(settings.name_or_path)
        # Nothing of where it came from goes into pickles, nor anything that names foreign code.
        language.config._name_or_path = ""
        for module in language.modules():
            if hasattr(module, "name_or_path"):
                module.name_or_path = ""
        language.generation_config = None
        if getattr(language.config, "auto_map", None):
            language.config.auto_map = None
        # GGUF weights were unpacked: the model is a plain one from now on.
        language.hf_quantizer = None
        if settings.lora_rank is not None:
            language = _with_adapters(language, int(settings.lora_rank))
        model = TextModel(layout, language, micro_batch_size=int(settings.micro_batch_size))
        model.check_causal()
        return model

    def sizes(self, n_rows: int, n_columns: int) -> Sizes:
        """Give what the estimator takes where its parameters are None."""
        lora = self.settings.lora_rank is not None
        return Sizes(
            width=0,
            n_layers=0,
            dropout=0.0,
            learning_rate=5e-4 if lora else 5e-5,
            batch_size=16 if n_rows < 20_000 else 32,
            max_epochs=min(max(round(400_000 / n_rows), 4), 100),
        )


def _is_gguf(path: str | os.PathLike[str]) -> bool:
    return str(path).endswith(".gguf")


def _load_tokenizer(path: str | os.PathLike[str]) -> Any:
    tokenizer = _load(AutoTokenizer, path)
    if not tokenizer.tokenize("0"):
        raise ValueError(f"backbone={str(path)!r} must hold the files of its tokenizer.")
    return tokenizer


def _load_model(path: str | os.PathLike[str]) -> Any:
    settings: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
    if not _is_gguf(path):
        config = _load(AutoConfig, path)
        _check_attention(path, config)
        _check_weights(path, config)
        settings |= {"config": config, "use_safetensors": True}
    language, found = _load(AutoModelForCausalLM, path, **settings)
    if found["missing_keys"]:
        raise ValueError(
            f"backbone={str(path)!r} must hold all weights of its architecture; missing are "
            f"{sorted(found['missing_keys'])[:3]}."
        )
    return language


def _check_attention(path: str | os.PathLike[str], config: Any) -> None:
    """Refuse a model whose settings ask for attention that is fetched from a hub."""
    for name, value in [*config.to_dict().items(), *vars(config).items()]:
        if "attn_implementation" in name and "/" in str(value):
            raise ValueError(
                f"backbone={str(path)!r} asks for {name}={value!r}, code that does not come with "
                "transformers and is never run. Take that line out of its config.json."
            )


def _check_weights(path: str | os.PathLike[str], config: Any) -> None:
    """Refuse weights in files that are no safetensors, or of an adapter."""
    named = getattr(config, "transformers_weights", None)
    if named is not None:
        raise ValueError(
            f"backbone={str(path)!r} asks for transformers_weights={named!r} instead of the usual "
            "model.safetensors. Take that line out of its config.json."
        )
    absent: dict[str, Any] = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    index = cached_file(str(path), "model.safetensors.index.json", **absent)
    try:
        files = json.loads(Path(index).read_text("utf-8"))["weight_map"].values() if index else []
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"backbone={str(path)!r}: model.safetensors.index.json must name the files of weights."
        ) from error
    others = sorted({str(file) for file in files if not str(file).endswith(".safetensors")})
    if others:
        raise ValueError(f"backbone={str(path)!r}: weights must be safetensors; got {others[:3]}.")
    if cached_file(str(path), "adapter_config.json", **absent):
        raise ValueError(
            f"backbone={str(path)!r} must be a whole model and holds an adapter: merge it into its "
            "model with peft's merge_and_unload and save that."
        )


def _load(kind: Any, path: str | os.PathLike[str], **settings: Any) -> Any:
    """Load a tokenizer, a configuration or a model, without code or pickles of others."""
    place = Path(path)
    if _is_gguf(path):
        settings["gguf_file"] = place.name
    try:
        source = str(place.parent) if _is_gguf(path) else str(path)
        return kind.from_pretrained(source, trust_remote_code=False, **settings)
    except ImportError as error:
        if not _is_gguf(path):
            raise ImportError(f"backbone={str(path)!r} could not be loaded. {error}") from error
        raise ImportError(
            f"backbone={str(path)!r} needs the package gguf: pip install tabgraa-sklearn[text]."
        ) from error
    except Exception as error:  # whatever damaged files raise in the libraries that read them
        raise ValueError(
            f"backbone={str(path)!r} could not be loaded. Without the hub, pass a folder with "
            "config.json, model.safetensors and the tokenizer's files (as save_pretrained writes "
            "it), or a .gguf file. Weights must be safetensors or GGUF, and the architecture one "
            f"of transformers' own: code that comes with a model is never run. {error}"
        ) from error


def _with_adapters(language: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            "TextBackbone(lora_rank=...) needs the package peft: pip install tabgraa-sklearn[lora]."
        ) from error
    transposed = any(isinstance(module, Conv1D) for module in language.modules())
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", fan_in_fan_out=transposed
    )
    language = inject_adapter_in_model(config, language)
    for name, parameter in language.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return language
