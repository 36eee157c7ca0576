# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Write your own reducer in 30 lines
#
# A method looks at the tokens that are alive, and answers with a decision. It never gathers, pads
# or loops over rows: the encoder does that for every method alike. Here is one that keeps the rare
# words. WordPiece vocabularies list frequent words first, so a large id is a rare word.

# %% tags=["parameters"]
train_rows = 1000
random_init = None  # or changes to the architecture, for random weights of another size
folder = "runs/notebooks"

# %%
import logging
import math
from pathlib import Path

from tokendrop.compare.grid.method import Method
from tokendrop.compare.grid.runner import compare
from tokendrop.compare.grid.settings import Comparison
from tokendrop.compare.results.frame import results_frame
from tokendrop.errors import UserError
from tokendrop.measure.clock import Clock
from tokendrop.packed import top_k
from tokendrop.reducers.base import Decision, Reducer, Stage
from tokendrop.testing import check_reducer

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


# %%
class RareWords(Reducer):
    """From one layer on, keep the share of each row with the rarest words, and [CLS]."""

    # can be changed on a trained model, so all its points share one training
    operating_arguments = frozenset({"share"})

    def __init__(self, layer=2, share=0.5, epochs=1):
        super().__init__()
        self.layer, self.share, self.epochs = layer, share, epochs

    def build(self, shape):
        if not 0 <= self.layer < shape.layers:
            raise UserError(f"layer {self.layer} is out of range: use 0 to {shape.layers - 1}")
        if not 0 < self.share <= 1:
            raise UserError(f"share {self.share} is out of range: use more than 0, at most 1")

    def before_layer(self, view):
        if view.layer != self.layer:
            return None
        # all live tokens of all rows lie end to end; the layout says where
        rarity = view.batch.input_ids[view.layout.tokens].float()
        counts = [math.ceil(self.share * tokens) for tokens in view.layout.lengths]
        return Decision(keep=top_k(rarity, counts, view.layout), counts=counts)

    def stages(self):
        return [Stage("adapt", self.epochs, 1e-4, warmup=0.06, clip=1.0)]


# %% [markdown]
# Is it right? The contract that the package's own methods are held against says so, on tiny random
# models: the same answer alone and in any batch, [CLS] stays, nothing comes back, the FLOPs are
# those that ran, saved and loaded it is the same, and more.

# %%
check_reducer(
    keeps_all=lambda: RareWords(share=1.0),
    drops={"half": RareWords, "cls_only": lambda: RareWords(layer=0, share=0.01)},
    families=["bert"],
)
print("the contract holds")

# %% [markdown]
# Is it good? A comparison names it by its path, as it would name a class in a file of yours, and
# trains it from the same start as everything else. The opposite question is worth asking of any
# score: random positions are the floor that it has to beat. Trained alike, with 0.86 of the tokens
# left by each layer, they keep about as much as `half`: see the last column.

# %%
mine = f"{RareWords.__module__}.RareWords"
comparison = Comparison(
    tasks=["rotten_tomatoes"],
    methods={
        "dense": Method("Dense"),
        "rare_words": Method(
            mine, operating_points={"three_quarters": {"share": 0.75}, "half": {"share": 0.5}}
        ),
        "by_lot": Method(
            "baselines.RandomDrop", {"ratio": 0.86, "epochs": 1, "learning_rate": 1e-4}
        ),
    },
    random_init=random_init,
    fine_tune=Stage("fine_tune", 2, 1e-4, weight_decay=0.01, warmup=0.06, clip=1.0),
    data={"train_rows": train_rows, "max_length": 64},
    clock=Clock(rows=32, single_rows=4, rounds=3),
    loggers=[],
)
records = compare(comparison, Path(folder) / "rare_words")

# %%
columns = ["method", "operating_point", "value", "flops_speedup_unpadded", "kept_tokens_mean"]
print(results_frame(records)[columns].round(3).to_string(index=False))

# %% [markdown]
# In a file of its own, the class is compared from the command line too: `docs/write_a_reducer.md`.
