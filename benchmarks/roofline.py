"""How far the supervised stage is from what this machine's matrix products allow.

    python benchmarks/roofline.py adult magic default

Fits for a few epochs, records every matrix product of one training step (forward and backward,
with its shapes and precision), and times each of them alone. An epoch cannot be faster than its
products; their share of the measured time is how far from the limit the stage is. Beside it: the
rate of a large product, the most that the machine can do at all. Lines go to
``results/roofline.csv``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from typing import Any

import machine
import pandas as pd
import results
import tables
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn._device import autocast
from tabgraa_sklearn._sizes import default_sizes

_PRODUCTS = {getattr(torch.ops.aten, name).default for name in ("mm", "bmm", "addmm", "baddbmm")}
# A product: batch, rows, inner, columns, precision.
Product = tuple[int, int, int, int, torch.dtype]
LARGE: tuple[int, int, int, int] = (1, 2048, 2048, 2048)


class Products(TorchDispatchMode):
    """Counts the matrix products that run inside, by shape and precision."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _PRODUCTS:  # in inference mode a product may come as a composite of others
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            left, right = args[-2:]
            batch = left.shape[0] if left.ndim == 3 else 1
            self.counts[(batch, *left.shape[-2:], right.shape[-1], left.dtype)] += 1
        return func(*args, **(kwargs or {}))


def main() -> None:
    """Measure every table that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=["adult"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lines = [measure(tables.load(name), arguments) for name in arguments.tables]
    results.RESULTS.mkdir(exist_ok=True)
    pd.DataFrame(lines).to_csv(results.RESULTS / "roofline.csv", index=False, float_format="%.4g")


def measure(table: tables.Table, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit one table and set its epochs beside its matrix products."""
    synthesizer = TabGRAASynthesizer(
        max_epochs=arguments.epochs, n_rounds=0, random_state=arguments.seed, device="cpu"
    )
    synthesizer.fit(table.train)
    epochs = pd.DataFrame(synthesizer.history_)
    seconds = epochs["seconds"].min()
    rows = round((epochs["rows_per_second"] * epochs["seconds"]).iloc[0])
    batch_size = default_sizes(*table.train.shape).batch_size
    steps = math.ceil(rows / batch_size)

    products = step_products(synthesizer, batch_size)
    flops = sum(flop(product) * count for product, count in products.items())
    alone = sum(product_seconds(product) * count for product, count in products.items())
    peak = {dtype: rate((*LARGE, dtype)) for dtype in (torch.float32, torch.bfloat16)}
    used = getattr(torch, synthesizer.precision_)
    line = {
        "table": table.name,
        "precision": synthesizer.precision_,
        "batch_size": batch_size,
        "gflop_per_row": flops / batch_size / 1e9,
        "epoch_seconds": seconds,
        "products_seconds": alone * steps,
        "share_of_limit": alone * steps / seconds,
        "gflops_reached": flops * steps / seconds / 1e9,
        "gflops_of_shapes": flops / alone / 1e9,
        "gflops_large_float32": peak[torch.float32] / 1e9,
        "gflops_large_bfloat16": peak[torch.bfloat16] / 1e9,
        "share_of_large": flops * steps / seconds / peak[used],
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "threads": torch.get_num_threads(),
        **machine.describe(),
    }
    for name in list(line)[: list(line).index("epochs")]:
        value = line[name]
        print(f"{name:<24}{value:>12.4g}" if isinstance(value, float) else f"{name:<24}{value:>12}")
    print(flush=True)
    return line


def step_products(synthesizer: TabGRAASynthesizer, batch_size: int) -> Counter[Product]:
    """Matrix products of one training step on rows of random tokens."""
    model = synthesizer.model_.train()
    device = synthesizer.device_
    sizes = torch.as_tensor(model.layout.sizes)
    token_ids = (torch.rand(batch_size, len(sizes)) * sizes).long().to(device)
    order = torch.tensor(synthesizer.column_order_, device=device).expand(batch_size, -1)
    with Products() as products:
        with autocast(device, getattr(torch, synthesizer.precision_)):
            loss = -model(token_ids, order).sum(1).mean()
        loss.backward()
    model.eval().zero_grad()
    return products.counts


def flop(product: Product) -> int:
    """Floating-point operations of a product."""
    batch, rows, inner, columns, _ = product
    return 2 * batch * rows * inner * columns


def rate(product: Product) -> float:
    """Operations a second of a product that is run alone."""
    return flop(product) / product_seconds(product)


def product_seconds(product: Product, seconds: float = 0.1) -> float:
    """Time of one product, the best of several short runs that take ``seconds`` in all."""
    batch, rows, inner, columns, dtype = product
    left = torch.randn(batch, rows, inner).to(dtype)
    right = torch.randn(batch, inner, columns).to(dtype)
    if batch == 1:
        left, right = left[0], right[0]
    best, start = math.inf, time.perf_counter()
    while time.perf_counter() - start < seconds or best == math.inf:
        begin = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - begin)
    return best


if __name__ == "__main__":
    main()
