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
# # Quickstart
#
# Train one method on film reviews, ask the trained model, and see what it saves. The encoder
# (MiniLM-L6) and the reviews (Rotten Tomatoes) come from installed packages: no account, no hub.
# On two cores this takes a minute or two.

# %% tags=["parameters"]
train_rows = 1000
random_init = None  # or changes to the architecture, for random weights of another size
folder = "runs/notebooks"

# %%
import logging
from pathlib import Path

import tokendrop
from tokendrop.data import TextData
from tokendrop.reducers.base import Stage
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.training import recipes
from tokendrop.training.module import TokenDropModule

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

# %% [markdown]
# A method is a *reducer*. PoWER-BERT learns how many tokens each layer keeps, and keeps those that
# receive most attention. Its recipe begins with plain fine-tuning, which all methods share.

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
stages = recipes.train(module, data, 1, Path(folder) / "stages", trainers)
for stage in stages:
    print(f"{stage.name:10} accuracy on dev {stage.chosen['dev/accuracy']:.3f}")

# %% [markdown]
# The search only weakens tokens; the re-training removes them. Run this notebook again and nothing
# is trained twice: a finished stage is found by its settings.
#
# A trained stage holds a model. It is a plain Hugging Face folder with the method beside it.

# %%
model = tokendrop.load(stages[-1].model)
print("tokens that leave each layer, at most:", model.reducer.describe()["configuration"])

answers = model.predict(["a quiet, wise film that never drags", "two hours that feel like five"])
for answer in answers:
    print(answer.label, {name: round(p, 2) for name, p in answer.probabilities.items()})

# %% [markdown]
# What was saved, in floating-point operations against the same encoder with nothing dropped, and as
# the share of token-layers that were processed:

# %%
chosen = stages[-1].chosen
print(f"FLOPs speed-up {chosen['dev/flops_speedup']:.2f}x")
print(f"tokens kept {chosen['dev/kept_tokens']:.0%}")
