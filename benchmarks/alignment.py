"""What the rounds of alignment gain, by objective, reward, separation, control and ablation.

    python benchmarks/alignment.py magic --seeds 0 --rounds 2 --pool 20000
    python benchmarks/alignment.py magic --starts weak --variants none tabgraa dpo sft

All variants of a table, start and seed begin with one and the same supervised model, converged or
weak (3 epochs). Each runs all its rounds and is measured after the last one, so that harm shows
that the fit would not hand back; "tabgraa" is the default in all but --rounds and --pool, and
`best_round` the round that the fit would keep. A run with --rounds 1, 2, 3 gives the gain against
rounds. Lines go to ``results/alignment.csv``; of runs side by side, each with an --out of its own,
they are put there by ``--merge FILES``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
import measures
import numpy as np
import results
import tables
import torch
from sklearn.dummy import DummyClassifier
from sklearn.mixture import GaussianMixture

import tabgraa_sklearn._alignment as alignment
import tabgraa_sklearn._synthesizer as module
from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.signals import (
    ClosestRecordDistance,
    PairwiseDependence,
    TwoSampleClassifier,
    WeightedSignal,
)

KEY = ["table", "start", "rounds", "pool", "variant", "processor"]  # which round differently
WEAK_EPOCHS = 3
DRAWS = 2  # samples whose C2ST is averaged


@dataclass
class Variant:
    """Parameters of the estimator, and fields of the aligner that no parameter sets."""

    group: str
    parameters: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    shuffled: bool = False


def row(**parameters: Any) -> dict[str, Any]:
    return {"align_credit": "row", **parameters}


COMBINED = WeightedSignal(
    [
        ("classifier", TwoSampleClassifier(random_state=0)),
        ("pairs", PairwiseDependence()),
        ("distance", ClosestRecordDistance(random_state=0)),
    ],
    weights=[1.0, 0.3, 0.1],
)
# As published: halves of equal members, the whole row, no finite optimum, no trust region.
NAIVE = {"target": False, "proportionate": False, "trust": 0.0, "match": False}
UNMATCHED = {"match": False}  # else a gain could be that of marginal frequencies alone
VARIANTS = {
    "none": Variant("objective"),
    "tabgraa": Variant("objective"),
    "tabgraa-sigmoid": Variant("objective", {"objective": "tabgraa-sigmoid"}),
    "tabgraa as published": Variant("objective", row(), NAIVE),
    "tabgraa, row credit": Variant("objective", row()),
    "dpo": Variant("objective", row(objective="dpo", beta=0.1), UNMATCHED),
    "kto": Variant("objective", row(objective="kto", beta=0.1), UNMATCHED),
    "npo": Variant("objective", row(objective="npo", beta=0.1), UNMATCHED),
    "ipo": Variant("objective", row(objective="ipo", beta=1.0), UNMATCHED),
    "sft": Variant("objective", {"objective": "sft"}, UNMATCHED),
    "reward: classifier": Variant("reward", {"signal": TwoSampleClassifier(random_state=0)}),
    "reward: distance": Variant("reward", {"signal": ClosestRecordDistance(random_state=0)}),
    "reward: density": Variant("reward", {"signal": GaussianMixture(8, random_state=0)}),
    "reward: structure": Variant("reward", {"signal": PairwiseDependence()}),
    "reward: combination": Variant("reward", {"signal": COMBINED}),
    "reward: indistinguishability": Variant("reward", {"reward": "indistinguishability"}),
    "one pool for both": Variant("separation", fields={"separate": False}),
    "random scores": Variant(
        "control", {"signal": DummyClassifier(strategy="stratified")}, UNMATCHED
    ),
    "random groups": Variant("control", fields=UNMATCHED, shuffled=True),
    "random groups, marginals matched": Variant("control", shuffled=True),
    "no target": Variant("ablation", fields={"target": False}),
    "halves of equal members": Variant("ablation", fields={"proportionate": False}),
    "marginals not matched": Variant("ablation", fields={"match": False}),
    "no trust region": Variant("ablation", fields={"trust": 0.0}),
    "second moments carried over": Variant("ablation", fields={"carry": True}),
}


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse()
    if arguments.merge:
        return results.merge(arguments.merge, arguments.out, key=KEY)
    for name in arguments.tables or tables.names():
        table = tables.load(name)
        for start in arguments.starts:
            for seed in arguments.seeds:
                with tempfile.TemporaryDirectory() as memory:
                    for variant in arguments.variants:
                        line = run(table, start, seed, variant, memory, arguments)
                        results.store(arguments.out, [line], key=KEY)
                        shown = {
                            key: round(value, 4) for key, value in line.items() if key in SHOWN
                        }
                        print(table.name, start, seed, variant, shown, flush=True)


SHOWN = (
    "c2st_xgboost",
    "column_shapes",
    "pair_trends",
    "downstream_auc_untuned",
    "membership_auc",
    "held_out_gain",
    "best_round",
    "round_seconds",
)


def run(
    table: tables.Table,
    start: str,
    seed: int,
    name: str,
    memory: str,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Align one supervised model in one way, and measure it after the last round."""
    variant = VARIANTS[name]
    synthesizer = TabGRAASynthesizer(
        random_state=seed,
        memory=memory,
        max_epochs=WEAK_EPOCHS if start == "weak" else None,
        n_rounds=0 if name == "none" else arguments.rounds,
        align_pool_size=arguments.pool,
    ).set_params(**variant.parameters)
    kept: list[int] = []
    with changed(variant, kept):
        begin = time.perf_counter()
        synthesizer.fit(table.train)
        seconds = time.perf_counter() - begin
    rounds = [entry for entry in synthesizer.history_ if entry["stage"] == "alignment"]
    last = rounds[-1] if rounds else {}
    figures = measure(synthesizer, table, seed)
    return {
        "table": table.name,
        "start": start,
        "rounds": arguments.rounds,
        "group": variant.group,
        "variant": name,
        "seed": str(seed),
        "repeats": 1,
        **figures,
        "held_out_gain": last.get("held_out_gain", 0.0),
        "log_ratio_std": last.get("log_ratio_std", 0.0),
        "best_round": kept[-1] if kept else 0,
        "rounds_run": synthesizer.n_rounds_,
        "round_seconds": float(np.mean([entry["seconds"] for entry in rounds[1:]] or [0.0])),
        "fit_seconds": seconds,
        "pool": arguments.pool,
        "threads": torch.get_num_threads(),
        **machine.describe(),
    }


def measure(
    synthesizer: Any, table: tables.Table, seed: int, draws: int = DRAWS
) -> dict[str, float]:
    """Take the measures of fidelity on several samples, the others on the first."""
    n_rows, c2st, quality = len(table.train), [], []
    samples = [synthesizer.sample(n_rows, random_state=1000 * k + seed) for k in range(draws)]
    first = samples[0]
    for draw, synthetic in enumerate(samples):
        settings = {"categorical": table.categorical}
        c2st.append(
            measures.c2st_xgboost(
                table.train, synthetic, random_state=draw, n_jobs=machine.cores(), **settings
            )
        )
        quality.append(measures.quality(table.train, synthetic, **settings)[:2])
    shapes, trends = np.mean(quality, axis=0)
    return {
        "c2st_xgboost": float(np.mean(c2st)),
        "column_shapes": float(shapes),
        "pair_trends": float(trends),
        "downstream_auc_untuned": measures.downstream_auc(
            table.train,
            first,
            table.test,
            target=table.target,
            categorical=table.categorical,
            n_jobs=machine.cores(),
            tuned=False,
        ),
        "membership_auc": measures.membership_auc(
            table.train, first, table.test, categorical=table.categorical, random_state=seed
        ),
    }


class changed:
    """Let the estimator's aligner be another one for a while; every round counts as the best."""

    def __init__(self, variant: Variant, kept: list[int]) -> None:
        self.variant, self.kept = variant, kept

    def __enter__(self) -> None:
        variant, kept = self.variant, self.kept
        verdicts: dict[int, bool] = {}

        class Changed(alignment.Aligner):
            def __init__(self, **fields: Any) -> None:
                super().__init__(**{**fields, **variant.fields})

            def _align(
                self, model: Any, reference: Any, pool: Any, credit: Any, *rest: Any
            ) -> None:
                if variant.shuffled:
                    credit = np.random.default_rng(0).permutation(credit)
                super()._align(model, reference, pool, credit, *rest)

        def never(judged: dict[str, Any], before: dict[str, Any]) -> bool:
            """Find no round worse, so that the last one is kept; note what the rule says."""
            number = judged.setdefault("round", 1 + len(verdicts))
            verdicts[number] = verdicts.get(number, True) and not self.rule(judged, before)
            kept[:] = [tried for tried, good in verdicts.items() if good]
            return False

        self.rule, self.aligner = alignment.is_worse, module.Aligner
        alignment.is_worse, module.Aligner = never, Changed

    def __exit__(self, *_: object) -> None:
        alignment.is_worse, module.Aligner = self.rule, self.aligner


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", help=f"tables: {', '.join(tables.names())}")
    parser.add_argument("--starts", nargs="+", default=["converged"], choices=["converged", "weak"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pool", type=int, default=20_000)
    parser.add_argument("--merge", type=Path, nargs="+", help="result files, instead of runs")
    parser.add_argument("--out", type=Path, default=results.RESULTS / "alignment.csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()
