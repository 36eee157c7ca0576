#!/usr/bin/env bash
# Everything that a GPU machine without network lacks, in one folder of some 65 MB: docs/gpu.md.
#
#   tools/gpu_pack.sh FOLDER [PYTHON_VERSION]
#
# FOLDER gets wheels/ for Linux on x86-64 (of packages that need no compiler and that images with
# torch, transformers and lightning seldom have), minilm-l6/ with the encoder's weights in fp16, and
# reviews.parquet. PYTHON is an interpreter with tokendrop's demo packages.
set -eu
cd "$(dirname "$0")/.."
usage="tools/gpu_pack.sh FOLDER [PYTHON_VERSION]"
fail() { echo "$1" >&2; exit 2; }

[ $# -eq 1 ] || [ $# -eq 2 ] || fail "name a folder for the pack: $usage"
case $1 in -*) fail "unknown option $1: $usage" ;; esac
folder=$1 version=${2:-3.12}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$folder/wheels"

platforms=()
for of in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${of}_x86_64")
done
"$python" -m pip download --quiet --no-deps --only-binary :all: --python-version "$version" \
    --implementation cp "${platforms[@]}" --constraint requirements.txt --dest "$folder/wheels" \
    jsonargparse docstring_parser typeshed_client importlib_resources datasets dill multiprocess \
    xxhash moocore platformdirs cffi pycparser optuna alembic Mako colorlog sqlalchemy greenlet \
    pydantic pydantic_core annotated_types typing_inspection \
    pymoo cma alive_progress about_time graphemeu Deprecated wrapt autograd
"$python" -m pip wheel --quiet --no-deps --constraint requirements.txt --wheel-dir "$folder/wheels" \
    seqeval

"$python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import pandas as pd
import torch
from transformers import AutoModel, AutoTokenizer

from tokendrop.data.sources import read_demo
from tokendrop.models.backbones import resolve

folder = Path(sys.argv[1])
backbone = resolve("minilm-l6")
AutoModel.from_pretrained(backbone, dtype=torch.float16).save_pretrained(folder / "minilm-l6")
AutoTokenizer.from_pretrained(backbone).save_pretrained(folder / "minilm-l6")
# in their order, so that splits are those of the package
reviews = {name: list(cells) for name, cells in read_demo("rotten_tomatoes").columns}
pd.DataFrame(reviews).to_parquet(folder / "reviews.parquet")
PYTHON
du -sh "$folder"/*
