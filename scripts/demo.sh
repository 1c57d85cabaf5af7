#!/usr/bin/env bash
# The main job, small: synthetic squats (and COCO, where given) -> Zarr -> one 2D net and one D3KE net on two
# Ray Train workers -> metrics, a page, a .mot. Run by `make demo`; every step can be run again and goes on.
set -euo pipefail

PYTHON=${PYTHON:-.venv/bin/python}
SHARED=${SHARED:-../shared/data}
DEMO=${DEMO:-demo}
export OMP_NUM_THREADS=1

step() { printf '\n== %s\n' "$*"; }

mkdir -p "$DEMO"

step "Synthetic people: pose, render, annotate"
words=(--set motions.squat.subjects=16 --set motions.squat.frames=48
       --set motions.poses.subjects=16 --set motions.poses.frames=16
       --set "motions.clip={movement: squat, subjects: 8, frames: 48, clip: true, fps: 15}"
       --set shard_samples=192)
if [ -d "$SHARED/opensim" ]; then
    words+=(--set "motions.lab={mot: $SHARED/opensim/opencap/squats1_videoAndMocap.mot, subjects: 8, frames: 24}")
fi
"$PYTHON" -m pipeline build squat_small --to "$DEMO/squats" --engine ray "${words[@]}"

data="$DEMO/squats"
if [ -d "$SHARED/coco" ]; then
    step "COCO: persons with all six lower joints labelled"
    "$PYTHON" -m pipeline build coco_lower --to "$DEMO/coco" --engine ray --set subset=lower_labelled \
        --set images="$SHARED/coco/images" --set image_px=256 \
        --set annotations="$SHARED/coco/annotations/person_keypoints_lower_dev.json"
    data="$data,$DEMO/coco"
fi

step "2D net: six joints as heat maps"
"$PYTHON" -m trainers fit pose2d_resnet18 --data "$data" --to "$DEMO/pose2d" \
    --set "task.input=[96, 64]" --set epochs=6 --set batch=32 --set optimiser.final=0.05
"$PYTHON" -m trainers evaluate "$DEMO/pose2d" --data "$data" --split test

step "D3KE: joint angles, markers and body scales"
"$PYTHON" -m trainers fit d3ke_resnet18 --data "$DEMO/squats" --to "$DEMO/d3ke" \
    --set task.input_px=96 --set epochs=9 --set batch=32
"$PYTHON" -m trainers evaluate "$DEMO/d3ke" --data "$DEMO/squats" --split test

step "A video of a test subject, never seen in training, to OpenSim"
"$PYTHON" -m pipeline export "$DEMO/squats" --video "$DEMO/videos" --opensim "$DEMO/opensim"
clip=$(find "$DEMO/videos" -name 'test_clip_*.mp4' | sort | head -n 1)
"$PYTHON" -m trainers predict "$DEMO/d3ke" "$clip" --camera "${clip%.mp4}.json" --to "$DEMO/prediction"
"$PYTHON" -m pipeline preview "$DEMO/squats" --out "$DEMO/squats.html" --sheet "$DEMO/contact_sheet.jpg"

step "Done"
echo "dataset page  $DEMO/squats.html"
echo "metrics       $(find "$DEMO/pose2d" "$DEMO/d3ke" -name 'evaluation-test-*.json' | sort | tr '\n' ' ')"
echo "motion        $DEMO/prediction/prediction.mot   (model.osim, prediction.trc and overlay.mp4 beside it)"
