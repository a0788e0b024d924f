"""The rounds of alignment as a picture: what `history_` tells.

Draws `rounds.png` into the current folder; needs matplotlib (the extra `report`).
"""

# %%
# ## A fit that has something left to learn
#
# Few supervised epochs, then four rounds.

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn.datasets import load_adult

people = load_adult().frame.sample(2000, random_state=0, ignore_index=True)
synthesizer = TabGRAASynthesizer(
    max_epochs=6, n_rounds=4, align_pool_size=4000, random_state=0
).fit(people)

history = synthesizer.history_frame()
rounds = history[history["stage"] == "alignment"].set_index("round")
print(rounds[["signal_auc", "judge_score", "held_out_gain", "log_ratio_std"]].round(4).to_string())
print(
    f"kept round {synthesizer.best_round_}; the rounds ended by {synthesizer.rounds_stop_reason_}"
)

# %%
# ## The picture
#
# Left: how well the signal tells fresh rows from held-out real ones, before each update; one half
# is chance. Middle: the likelihood that held-out rows have gained. Right: how far the policy has
# gone from the supervised model, and how much of that separates rows of high from rows of low
# reward.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.2), constrained_layout=True)
left.plot(rounds.index, rounds["signal_auc"], marker="o", label="signal")
left.plot(rounds.index, 1 - rounds["judge_score"] / 2, marker="s", label="judge")
left.axhline(0.5, color="0.7", linewidth=1)
left.set(xlabel="round", ylabel="area under the ROC curve", title="told from real rows")
left.legend()
middle.errorbar(
    rounds.index, rounds["held_out_gain"], yerr=rounds["held_out_error"], marker="o", capsize=3
)
middle.axvline(synthesizer.best_round_, color="0.7", linewidth=1)
middle.set(xlabel="round", ylabel="nats per row", title="gain on held-out rows")
right.plot(rounds.index, rounds["log_ratio_std"], marker="o", label="spread")
right.plot(rounds.index, rounds["group_gap"], marker="s", label="gap of the groups")
right.set(xlabel="round", ylabel="nats per row", title="log-ratio to the supervised model")
right.legend()
figure.savefig("rounds.png", dpi=120)
print("wrote rounds.png")
