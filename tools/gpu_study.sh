#!/usr/bin/env bash
# A comparison on one GPU, several processes side by side, one task after the other: docs/tuning.md.
#
#   tools/gpu_study.sh [OUT]
#
# Takes at most nine minutes, and goes on where it stopped when it is called again with the same OUT:
# exit 0 if all is done, 3 if not, 2 if a task cannot be. OUT/TASK is the comparison of a task,
# OUT/logs what its processes said, OUT/report all tasks. Nothing is downloaded. From the environment:
#   CONFIG    the comparison, configs/compare/study.yaml by default
#   TASKS     of those of the comparison, in this order, by default all; METHODS likewise
#   DATA      a folder of data: TASK/ as task_data's dir has it, or a file TASK.parquet, .csv, ...
#   BACKBONE  an encoder in place of the comparison's, by name or as a folder
#   PRECISION of the training, by default the comparison's or bf16-mixed
#   JOBS      processes at a time, by default half of the cores; LIMIT seconds, 540 by default
#   PYTHON    the interpreter, python3 by default
#   WHEELS    a folder of wheels of what its packages lack, put into a folder of their own
set -u
cd "$(dirname "$0")/.."

fail() { echo "$1" >&2; exit 2; }

[ $# -le 1 ] || fail "name one folder, not $#: tools/gpu_study.sh [OUT]"
out=${1:-runs/gpu_study}
case $out in -*) fail "unknown option $out: tools/gpu_study.sh [OUT]" ;; esac
for name in JOBS LIMIT; do
    [[ ${!name:-1} =~ ^[1-9][0-9]*$ ]] || fail "$name ${!name} is no number of them: use 1 or more"
done
mkdir -p "$out/logs" || exit 2
cores=$(nproc)
jobs=${JOBS:-$((cores > 2 ? cores / 2 : 1))} deadline=$((SECONDS + ${LIMIT:-540}))
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
. tools/gpu_packages.sh

# a file of settings for each task, and the tasks
tasks=$("$PYTHON" - "$out" "${CONFIG:-configs/compare/study.yaml}" <<'PYTHON'
import os
import sys
from pathlib import Path

import yaml

from tokendrop.configs import read_config
from tokendrop.errors import UserError

out, config = Path(sys.argv[1]), Path(sys.argv[2])
try:
    whole = read_config(config)
except UserError as error:
    sys.exit(f"CONFIG: {error}")
for name, kind in {"methods": dict, "tasks": list}.items():
    if not isinstance(whole.get(name), kind):
        sys.exit(f"CONFIG: {config} is no comparison, for it has no {name}")


def chosen(variable, known):
    names = os.environ.get(variable, "").split() or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"{variable}: {config} has no {name!r}, only {', '.join(known)}")
    return names


methods = {name: whole["methods"][name] for name in chosen("METHODS", whole["methods"])}
whole |= {"loggers": ["csv"], "methods": methods}
whole["precision"] = os.environ.get("PRECISION") or whole.get("precision", "bf16-mixed")
whole["backbone"] = os.environ.get("BACKBONE") or whole.get("backbone", "minilm-l6")
data = os.environ.get("DATA")
for task in chosen("TASKS", whole["tasks"]):
    short = Path(task).stem
    of_task = whole | {"tasks": [task]}
    own = whole.get("task_data", {}).get(task, {})
    if data:
        files = sorted(path for path in Path(data).glob(f"{short}.*") if path.is_file())
        if (Path(data) / short).is_dir():
            own = own | {"dir": str(Path(data) / short)}
        elif files:
            own = own | {"dataset": None, "train": str(files[0])}
        else:
            sys.exit(f"DATA: {data} has neither a folder {short} nor a file {short}.*")
    of_task["task_data"] = {task: own}
    (out / f"{short}.yaml").write_text(yaml.safe_dump(of_task, sort_keys=False))
    print(short)
PYTHON
) || exit 2

whole=() failed=0
for task in $tasks; do
    [ $((deadline - SECONDS)) -gt 15 ] || break
    processes=()
    for number in $(seq "$jobs"); do
        timeout --kill-after 5 $((deadline - SECONDS)) "$PYTHON" -m tokendrop.cli compare \
            --config "$out/$task.yaml" --out "$out/$task" --shard "$number/$jobs" \
            > "$out/logs/$task-$number.log" 2>&1 &
        processes+=($!)
    done
    worst=0
    for number in $(seq "$jobs"); do
        # the shell would tell of a process that had to be killed
        { wait "${processes[$((number - 1))]}"; code=$?; } 2> /dev/null
        if [ $code -gt 0 ] && [ $code -ne 124 ] && [ $code -ne 137 ] && [ $worst -ne 2 ]; then
            echo "$out/$task: failed: $(tail -n 1 "$out/logs/$task-$number.log" | cut -c1-300)"
            worst=2
        fi
        [ $code -gt 0 ] && [ $worst = 0 ] && worst=3
    done
    case $worst in
        0) echo "$out/$task: done"; whole+=("$out/$task") ;;
        2) failed=1 ;;
        3) echo "$out/$task: goes on with the next call" ;;
    esac
done

if [ ${#whole[@]} -gt 1 ]; then
    "$PYTHON" -m tokendrop.cli report "${whole[@]}" --out "$out/report" > "$out/logs/report.log" 2>&1
    tail -n 3 "$out/logs/report.log"
fi
[ $failed = 1 ] && exit 2
[ ${#whole[@]} = "$(wc -w <<< "$tasks")" ] && echo "$out: all is done" && exit 0
echo "$out: not all is done, call it again"
exit 3
