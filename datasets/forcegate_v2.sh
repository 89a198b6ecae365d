#!/bin/sh
# How forcegate_v2.h5 was made: fused ring systems and conjugating bridges, which forcegate_v1 has
# few of. Run it in an empty folder, with forcegate installed and model_repository/painn_base/2 of
# this repository's history as the student. Each command continues where it was stopped. Half an
# hour on two cores.
set -eu
student=$1

forcegate-train molecules --fuse 420 --bridge 240 --only-made --seed 31 --out rings.csv

# Round 0: dynamics under a force field, stretched bonds, turned torsions.
forcegate-train sample rings.csv --out force_field_frames.h5 --splits train \
    --temperatures 300,500,1000 --frames-per-molecule 4 \
    --distorted-share 0.25 --dimer-share 0 --seed 32
forcegate-train label force_field_frames.h5 --out force_field.h5

# Rounds 1 and 2: where the student goes from there, and where it is lost.
forcegate-train explore force_field_frames.h5 --student "$student" \
    --out on_policy_1_frames.h5 --steps 80 --starts-per-molecule 3 \
    --temperatures 300,500,1000 --seed 33
forcegate-train label on_policy_1_frames.h5 --out on_policy_1.h5
forcegate-train explore on_policy_1_frames.h5 --student "$student" \
    --out on_policy_2_frames.h5 --steps 240 --every 60 --keep 2 --starts-per-molecule 3 \
    --temperatures 300,500,300 --seed 34
forcegate-train label on_policy_2_frames.h5 --out on_policy_2.h5

forcegate-train merge force_field.h5 on_policy_1.h5 on_policy_2.h5 --out forcegate_v2.h5
