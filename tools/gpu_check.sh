#!/usr/bin/env bash
# What tokendrop does on this machine's GPU, in ten minutes at most: docs/gpu.md.
#
#   tools/gpu_check.sh [OUT] [--device cpu]
#
# OUT gets a log of each step, speed.json, the comparison's folder and summary.json. A step that
# fails or takes too long does not stop the next one. Nothing is downloaded. From the environment:
#   PYTHON    the interpreter, python3 by default
#   WHEELS    a folder of wheels of what its packages lack, put into a folder of their own
#   BACKBONE  the encoder of the comparison, minilm-l6 by default, or a folder
#   DATA      a file of texts and labels in place of the installed reviews
set -u
cd "$(dirname "$0")/.."

fail() { echo "$1" >&2; exit 2; }

usage="tools/gpu_check.sh [OUT] [--device cpu]" out= device=cuda
while [ $# -gt 0 ]; do
    case $1 in
        --device) shift; device=${1:-without a name} ;;
        -*) fail "unknown option $1: $usage" ;;
        *) [ -z "$out" ] || fail "name one folder, not $out and $1: $usage"; out=$1 ;;
    esac
    shift
done
case $device in cuda | cpu) ;; *) fail "--device $device: use cuda or cpu" ;; esac
out=${out:-runs/gpu_check}
mkdir -p "$out"
export WANDB_MODE=offline
. tools/gpu_packages.sh
: > "$out/steps.tsv"

# step NAME SECONDS COMMAND...: its output goes to OUT/NAME.log, its end is shown
step() {
    local name=$1 limit=$2 begun=$SECONDS code state
    shift 2
    echo "== $name (at most $limit s)"
    # the shell would tell of a process that had to be killed
    { timeout --kill-after 5 "$limit" "$@" > "$out/$name.log" 2>&1; code=$?; } 2> /dev/null
    case $code in 0) state=ok ;; 124 | 137) state="out of time" ;; *) state="failed ($code)" ;; esac
    grep -m 5 FAILED "$out/$name.log" | cut -c1-200
    tail -n 3 "$out/$name.log" | cut -c1-200
    echo "-- $name: $state, $((SECONDS - begun)) s"
    printf '%s\t%s\t%s\n' "$name" "$state" "$((SECONDS - begun))" >> "$out/steps.tsv"
}

together=()
if "$PYTHON" -c 'import xdist' 2> /dev/null; then together=(-n "$(($(nproc) < 8 ? $(nproc) : 8))"); fi

compare=("$PYTHON" -m tokendrop.cli compare --config configs/compare/gpu_check.yaml
    --out "$out/comparison" --backbone "${BACKBONE:-minilm-l6}")
if [ -n "${DATA:-}" ]; then
    compare+=(--task_data "{rotten_tomatoes: {dataset: null, train: $DATA}}")
fi
speed=("$PYTHON" -m tokendrop.cli speed --device "$device" --json "$out/speed.json")
# each test has its line, so that what fails is known although time runs out
pytest=("$PYTHON" -m pytest -v -p no:cacheprovider --maxfail 40 "${together[@]}")
few="Dense or PowerBert-some or AdapLeR-peaked or DactBert-mean"

step machine 60 "$PYTHON" -c '
import platform, torch, transformers
print("python", platform.python_version(), "torch", torch.__version__)
print("transformers", transformers.__version__)
try:
    import triton
    print("triton", triton.__version__)
except ImportError:
    print("triton is not installed: attention falls back to padded blocks")
if torch.cuda.is_available():
    card = torch.cuda.get_device_properties(0)
    print(card.name, f"{card.total_memory / 2**30:.0f} GiB", "CUDA", torch.version.cuda)
'
if [ "$device" = cuda ]; then
    # files by name: others need packages that are for trainings elsewhere
    step kernels 100 "${pytest[@]}" -m gpu tests/engine tests/training/test_module.py \
        tests/models/test_prediction.py tests/contract/test_kernels.py tests/reducers/test_soft_removal.py
    step contract 100 "${pytest[@]}" -m gpu tests/contract/test_contract.py -k "[bert or [modernbert"
    step speed 240 "${speed[@]}" --seconds 3 --compile
    step comparison 120 "${compare[@]}"
else
    step kernels 80 "${pytest[@]}" tests/engine/test_graphs.py tests/engine/test_casting.py \
        tests/contract/test_kernels.py
    step contract 60 "${pytest[@]}" tests/contract/test_contract.py -k "[bert and ($few)"
    step speed 60 "${speed[@]}" --shapes minilm-l6 --mixes short --batch-sizes 4 --kept 0.5 \
        --seconds 2 --rounds 3 --train-rows 4
    step comparison 120 "${compare[@]}" --data.train_rows 96 --data.dev_rows 32 --data.test_rows 32 \
        --clock.rows 16 --clock.single_rows 2 --clock.rounds 3 --precision 32-true
fi

"$PYTHON" - "$out" <<'PYTHON'
import json, sys
from pathlib import Path

out = Path(sys.argv[1])
rows = [line.split("\t") for line in (out / "steps.tsv").read_text().splitlines()]
steps = [{"step": name, "state": state, "seconds": int(took)} for name, state, took in rows]
(out / "summary.json").write_text(json.dumps(steps, indent=1) + "\n")
(out / "steps.tsv").unlink()
for step in steps:
    print(f"{step['step']:12} {step['state']:14} {step['seconds']:4} s")
sys.exit(any(step["state"] != "ok" for step in steps))
PYTHON
