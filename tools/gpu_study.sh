#!/usr/bin/env bash
# A comparison with one process for each method of each task, side by side on one GPU: docs/tuning.md.
#
#   tools/gpu_study.sh [OUT]
#
# Takes at most nine minutes, and goes on where it stopped when it is called again with the same OUT:
# exit 0 if all is done, 3 if not. OUT/parts has a folder and a log of each method, OUT/TASK the whole
# comparison of a task once its methods are done, OUT/report all tasks. Nothing is downloaded. From
# the environment:
#   CONFIG    the comparison, configs/compare/fair.yaml by default
#   TASKS     of those of the comparison, by default all; METHODS likewise
#   DATA      a folder of data: TASK/ as task_data's dir has it, or a file TASK.parquet, .csv, ...
#   BACKBONE  an encoder in place of the comparison's, by name or as a folder
#   PRECISION of the training, bf16-mixed by default
#   JOBS      processes at a time, half of the cores by default; LIMIT seconds, 540 by default
#   PYTHON    the interpreter, python3 by default
#   WHEELS    a folder of wheels of what its packages lack, put into a folder of their own
set -u
cd "$(dirname "$0")/.."

out=${1:-runs/gpu_study}
case $out in -*) echo "unknown option $out: tools/gpu_study.sh [OUT]" >&2; exit 2 ;; esac
mkdir -p "$out/parts" || exit 2
jobs=${JOBS:-$(($(nproc) / 2))}
export OUT=$out PART=60 DEADLINE=$(($(date +%s) + ${LIMIT:-540}))
export OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false
. tools/gpu_packages.sh

# a file of settings for each part and for each task, and a line TASK PART for each part, those that
# train the shared fine-tuning first
plan=$("$PYTHON" - "$out" "${CONFIG:-configs/compare/fair.yaml}" <<'PYTHON'
import os
import sys
from pathlib import Path

import yaml

out, config = Path(sys.argv[1]), Path(sys.argv[2])
whole = yaml.safe_load(config.read_text(encoding="utf-8"))


def chosen(variable, known):
    names = os.environ.get(variable, "").split() or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"{variable}: {config} has no {name!r}, only {', '.join(known)}")
    return names


methods = {name: whole["methods"][name] for name in chosen("METHODS", whole["methods"])}
whole |= {"loggers": ["csv"], "methods": methods}
whole["precision"] = os.environ.get("PRECISION") or "bf16-mixed"
whole["backbone"] = os.environ.get("BACKBONE") or whole.get("backbone", "minilm-l6")
data = os.environ.get("DATA")
plain = [name for name in methods if methods[name]["reducer"] == "Dense"] or list(methods)
names = [plain[0], *(name for name in methods if name != plain[0])]
lines = []
for task in chosen("TASKS", whole["tasks"]):
    short = Path(task).stem
    of_task = whole | {"tasks": [task]}
    if data:
        files = sorted(path for path in Path(data).glob(f"{short}.*") if path.is_file())
        if (Path(data) / short).is_dir():
            place = {"dir": str(Path(data) / short)}
        elif files:
            place = {"dataset": None, "train": str(files[0])}
        else:
            sys.exit(f"DATA: {data} has neither a folder {short} nor a file {short}.*")
        own = whole.get("task_data", {}).get(task, {})
        of_task["task_data"] = {task: own | place}
    (out / f"{short}.yaml").write_text(yaml.safe_dump(of_task, sort_keys=False))
    for number, name in enumerate(names):
        part = of_task | {"methods": {name: methods[name]}, "floor": False}
        if "space" not in methods[name]:
            part.pop("tune", None)
        path = out / "parts" / f"{short}--{name}.yaml"
        path.write_text(yaml.safe_dump(part, sort_keys=False))
        lines.append(f"{min(number, 1)} {short} {short}--{name} {short}--{names[0]}")
print("\n".join(sorted(lines, key=lambda line: line[0])))
PYTHON
) || exit 2

# compare FOLDER SETTINGS SPARE: unless it is finished with these settings, for as long as there is
# time, but for SPARE seconds
compare() {
    local folder=$1 settings=$2 left=$((DEADLINE - $(date +%s) - $3)) code
    cmp -s "$settings" "$folder/finished.yaml" && return 0
    [ "$left" -gt 15 ] || return 1
    # the shell would tell of a process that had to be killed
    {
        timeout --kill-after 5 "$left" "$PYTHON" -m tokendrop.cli compare --config "$settings" \
            --out "$folder" > "$folder.log" 2>&1
        code=$?
    } 2> /dev/null
    # a method alone may not reach every speed-up; the task's comparison needs one that does
    if [ $code -eq 2 ] && [ "$3" = "$PART" ] && grep -q "no trial reaches" "$folder.log"; then
        code=0
    fi
    case $code in
        0) cp "$settings" "$folder/finished.yaml"; echo "$folder: done" ;;
        124 | 137) echo "$folder: goes on with the next call" ;;
        *) echo "$folder: failed: $(tail -n 1 "$folder.log" | cut -c1-300)" ;;
    esac
    return $code
}

# part TASK PART FIRST: of the fine-tuning that FIRST has trained it needs none of its own
part() {
    local folder=$OUT/parts/$2 made
    mkdir -p "$folder/stages"
    for made in "$OUT/parts/$3"/stages/fine_tune-*; do
        # a finished one is never written to again, so a link will do
        [ -f "$made/done.json" ] && [ ! -e "$folder/stages/${made##*/}" ] &&
            cp -al "$made" "$folder/stages/"
    done
    compare "$folder" "$folder.yaml" "$PART"
}
export -f compare part

for first in 0 1; do
    sed -n "s/^$first //p" <<< "$plan" | xargs -P "$jobs" -L 1 bash -c 'part "$@"' part
done

whole=() waiting=0
for task in $(cut -d' ' -f2 <<< "$plan" | sort -u); do
    folder=$out/$task complete=1
    for part in $(sed -n "s/^. $task \([^ ]*\) .*/\1/p" <<< "$plan"); do
        cmp -s "$out/parts/$part.yaml" "$out/parts/$part/finished.yaml" || complete=0
    done
    if [ $complete = 0 ]; then waiting=1; continue; fi
    mkdir -p "$folder"
    for made in "$out/parts/$task"--*/; do
        cmp -s "$out/$task.yaml" "$folder/finished.yaml" && break
        cp -aln "$made"/{stages,runs,predictions,fates,logs} "$folder/" 2> /dev/null
        [ -d "$made/tuning" ] && cp -a "$made/tuning" "$folder/"
    done
    if compare "$folder" "$out/$task.yaml" 20; then whole+=("$folder"); else waiting=1; fi
done
if [ ${#whole[@]} -gt 1 ]; then
    timeout $((DEADLINE - $(date +%s) + 5)) "$PYTHON" -m tokendrop.cli report "${whole[@]}" \
        --out "$out/report" > "$out/report.log" 2>&1 || waiting=1
    tail -n 3 "$out/report.log"
fi
[ $waiting = 0 ] && echo "$out: all is done" && exit 0
echo "$out: not all is done, call it again"
exit 3
