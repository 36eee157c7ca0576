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
# # See what was dropped
#
# Every pass keeps a trace: how many layers each token went through. It is read from the tokens that
# were really computed on, so a picture of it cannot flatter the method.

# %% tags=["parameters"]
train_rows = 1000
random_init = None  # or changes to the architecture, for random weights of another size
folder = "runs/notebooks"

# %%
import logging
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt

import tokendrop
from tokendrop.data import TextData
from tokendrop.reducers.base import Stage
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.training import recipes
from tokendrop.training.module import TokenDropModule

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

# %% [markdown]
# The model of the quickstart: if that ran before, nothing is trained here.

# %%
data = TextData("rotten_tomatoes", max_length=64, train_rows=train_rows)
method = PowerBert(
    mass_weight=5e-4,
    soft_learning_rate=6e-2,
    learning_rate=1e-4,
    search_epochs=1,
    retrain_epochs=1,
)
fine_tune = Stage("fine_tune", 2, 1e-4, weight_decay=0.01, warmup=0.06, clip=1.0)
module = TokenDropModule(method, fine_tune=fine_tune, random_init=random_init)
trainers = recipes.trainer_maker([], "power_bert")
model = tokendrop.load(recipes.train(module, data, 1, Path(folder) / "stages", trainers)[-1].model)

# %% [markdown]
# One row of the picture is a layer, one column a token; a filled square was processed.

# %%
text = "the first hour is charming , but the plot soon forgets where it wanted to go"
(answer,) = model.predict([text])
print(answer.label)
for layer in range(1, answer.layers + 1):
    alive = ["#" if depth >= layer else "." for depth in answer.token_depth]
    print(f"layer {layer}  {' '.join(alive)}")
for token, depth in zip(answer.tokens, answer.token_depth, strict=True):
    print(f"{token:>12} {depth}")

# %% [markdown]
# Over many texts: what goes deep, and what leaves early? Words of at least five occurrences on the
# test split, by the mean number of layers they went through.

# %%
depths = defaultdict(list)
answers = model.predict(data.splits["test"].texts[:300])
for answer in answers:
    for token, depth in zip(answer.tokens, answer.token_depth, strict=True):
        depths[token].append(depth)
mean = {token: sum(found) / len(found) for token, found in depths.items() if len(found) >= 5}
order = sorted(mean, key=lambda token: mean[token])
print("leave early:", ", ".join(f"{token} {mean[token]:.1f}" for token in order[:10]))
print("go deep:    ", ", ".join(f"{token} {mean[token]:.1f}" for token in order[-10:]))

# %% [markdown]
# And the share of tokens that each layer still processes:

# %%
everything = [depth for answer in answers for depth in answer.token_depth]
layers = range(1, answers[0].layers + 1)
shares = [sum(depth >= layer for depth in everything) / len(everything) for layer in layers]
figure, axes = plt.subplots(figsize=(6, 3))
axes.bar(layers, shares)
axes.set(xlabel="layer", ylabel="share of tokens", ylim=(0, 1))
figure.tight_layout()
