"""Fit and sample with one system, in the environment it is installed in: what benchmarks start.

    VENV/bin/python benchmarks/systems.py tabular-argn train.csv.gz out.csv --rows 30000 --epochs 5

Prints one line of JSON: seconds of the fit and of the sample, peak memory (of this process, plus
that of the largest it started), versions of the system and of what it stands on. Only pandas and
the system itself are imported, so that it runs in any of the environments.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

# What a fitted system is here: rows wanted -> rows.
Sampler = Callable[[int], pd.DataFrame]


def fit_ours(train: pd.DataFrame, epochs: int | None, seed: int) -> Sampler:
    """Fit this package at its defaults, or for so many epochs; the supervised stage alone."""
    from tabgraa_sklearn import TabGRAASynthesizer

    model = TabGRAASynthesizer(max_epochs=epochs, n_rounds=0, random_state=seed).fit(train)
    return lambda n: model.sample(n, random_state=seed)


def fit_tabular_argn(train: pd.DataFrame, epochs: int | None, seed: int) -> Sampler:
    """Fit mostlyai-engine's TabularARGN at its defaults, or for so many epochs."""
    from mostlyai.engine import TabularARGN

    settings = {} if epochs is None else {"max_epochs": epochs}
    model = TabularARGN(verbose=0, random_state=seed, **settings)
    model.fit(train)
    return lambda n: model.sample(n_samples=n)


def fit_aligned(train: pd.DataFrame, epochs: int | None, seed: int) -> Sampler:
    """Fit this package at its defaults, or for so many epochs, rounds of alignment included."""
    from tabgraa_sklearn import TabGRAASynthesizer

    model = TabGRAASynthesizer(max_epochs=epochs, random_state=seed).fit(train)
    return lambda n: model.sample(n, random_state=seed)


def of_sdv(name: str) -> Callable[[pd.DataFrame, int | None, int], Sampler]:
    """Give the fit of one of SDV's synthesizers at its defaults, or for so many epochs."""

    def fit(train: pd.DataFrame, epochs: int | None, seed: int) -> Sampler:
        import numpy as np
        import torch
        from sdv import single_table
        from sdv.metadata import Metadata

        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        settings = {} if epochs is None else {"epochs": epochs}
        metadata = Metadata.detect_from_dataframes({"table": train})
        model = getattr(single_table, name)(metadata, **settings)
        model.fit({"table": train})

        def sample(n: int) -> pd.DataFrame:
            rows = model.sample(num_rows=n)
            return rows["table"] if isinstance(rows, dict) else rows

        return sample

    return fit


def fit_arf(train: pd.DataFrame, epochs: int | None, seed: int) -> Sampler:
    """Fit arfpy's adversarial random forest at its defaults; it has no epochs."""
    import numpy as np
    from arfpy import arf

    np.random.seed(seed)  # noqa: NPY002
    # It knows labels by the dtype object, which pandas no longer gives to strings.
    texts = [name for name in train if not pd.api.types.is_numeric_dtype(train[name])]
    model = arf.arf(x=train.astype(dict.fromkeys(texts, object)))
    model.forde()
    return lambda n: model.forge(n=n)


def fit_realtabformer(train: pd.DataFrame, epochs: int | None, seed: int) -> Sampler:
    """Fit REaLTabFormer at its defaults, or for so many epochs."""
    from realtabformer import REaLTabFormer

    settings = {} if epochs is None else {"epochs": epochs}
    model = REaLTabFormer(model_type="tabular", random_state=seed, **settings)
    model.fit(train)
    return lambda n: model.sample(n_samples=n)


def fit_great(train: pd.DataFrame, epochs: int | None, seed: int) -> Sampler:
    """Fit be-great on an untrained model of DistilGPT-2's size: no hub is asked for weights.

    Its speed is that of the pretrained model; its quality is not.
    """
    import tempfile

    from be_great import GReaT
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

    set_seed(seed)
    text = [
        ", ".join(f"{name} is {cell}" for name, cell in row.items())
        for row in train.head(5000).to_dict("records")
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(text, trainer)
    folder = tempfile.mkdtemp()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, bos_token=end, pad_token=end
    ).save_pretrained(folder)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=2000, n_layer=6, bos_token_id=0, eos_token_id=0)
    ).save_pretrained(folder)
    model = GReaT(llm=folder, batch_size=32, epochs=epochs or 100)
    model.fit(train)
    return lambda n: model.sample(n_samples=n, max_length=400)


SYSTEMS: dict[str, tuple[str, Callable[[pd.DataFrame, int | None, int], Sampler]]] = {
    "tabgraa-sklearn": ("tabgraa-sklearn", fit_ours),
    "tabgraa-sklearn, aligned": ("tabgraa-sklearn", fit_aligned),
    "gaussian-copula": ("sdv", of_sdv("GaussianCopulaSynthesizer")),
    "ctgan": ("sdv", of_sdv("CTGANSynthesizer")),
    "tvae": ("sdv", of_sdv("TVAESynthesizer")),
    "arfpy": ("arfpy", fit_arf),
    "tabular-argn": ("mostlyai-engine", fit_tabular_argn),
    "realtabformer": ("realtabformer", fit_realtabformer),
    "be-great": ("be-great", fit_great),
}


def main() -> None:
    """Fit, sample, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("train", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    package, fit = SYSTEMS[arguments.system]
    train = pd.read_csv(arguments.train)
    start = time.perf_counter()
    sample = fit(train, arguments.epochs, arguments.seed)
    fit_seconds = time.perf_counter() - start
    sample(200)
    start = time.perf_counter()
    rows = sample(arguments.rows)
    sample_seconds = time.perf_counter() - start
    peak = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    rows.to_csv(arguments.out, index=False)
    print(
        json.dumps(
            {
                "fit_seconds": fit_seconds,
                "sample_rows_per_second": len(rows) / sample_seconds,
                "peak_memory_mb": peak * (1 if sys.platform == "darwin" else 1024) / 1e6,
                **accelerator(),
                "system_version": version_of(package),
                "beside": ", ".join(
                    f"{name} {sys.modules[name].__version__}"
                    for name in ("torch", "transformers", "numpy", "pandas")
                    if name in sys.modules
                ),
            }
        )
    )


def accelerator() -> dict[str, str | float]:
    """Name the device that torch found, with the most of its memory that was in use."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {"device": "cpu", "gpu_memory_mb": 0.0}
    used = torch.cuda.max_memory_allocated() / 1e6
    name = torch.cuda.get_device_name() if used > 0 else "cpu"  # it may not have been used
    return {"device": name, "gpu_memory_mb": used}


def version_of(package: str) -> str:
    """Name the version of a package, ours from where it was imported."""
    try:
        return version(package)
    except PackageNotFoundError:
        module: Any = sys.modules[package.replace("-", "_")]
        return f"{module.__version__}, a checkout"


if __name__ == "__main__":
    main()
