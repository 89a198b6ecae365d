#!/bin/sh
# How forcegate_v1.h5 was made, from nothing but this repository: run it in an empty folder, with
# forcegate installed and model_repository/painn_base/1 of this repository as the first student.
# Each command continues where it was stopped. About three hours on two cores.
set -eu
first_student=$1

forcegate-train molecules --recombine 4600 --mutate 3400 --seed 1 --out molecules.csv

# What decides when training stops, and calibrates: the teacher's own dynamics, unseen molecules.
forcegate-train sample molecules.csv --out validation_frames.h5 --splits validation \
    --driver tblite:GFN2-xTB --molecules-per-split 64 --temperatures 300,500 \
    --frames-per-molecule 8 --equilibration-steps 150 --decorrelation-steps 45 \
    --distorted-share 0 --dimer-share 0 --seed 22
forcegate-train label validation_frames.h5 --out validation.h5

# Round 0: dynamics under a force field, stretched bonds, turned torsions, pairs.
forcegate-train sample molecules.csv --out force_field_frames.h5 --splits train \
    --temperatures 300,500,1000,100 --frames-per-molecule 5 \
    --distorted-share 0.2 --dimer-share 0.08 --seed 21
forcegate-train label force_field_frames.h5 --out force_field.h5

# Round 1: where an earlier student goes from there.
forcegate-train explore force_field_frames.h5 --student "$first_student" \
    --out on_policy_1_frames.h5 --steps 80 --starts-per-molecule 2 \
    --temperatures 300,500,300,1000 --seed 23
forcegate-train label on_policy_1_frames.h5 --out on_policy_1.h5

# Round 2: where a student of rounds 0 and 1 goes; of four candidates the most novel to it is kept.
forcegate-train fit force_field.h5 on_policy_1.h5 validation.h5 --model painn_tiny \
    --optimizer adamw --learning-rate 0.001 --warmup-steps 500 \
    --epochs 2 --workers 2 --out round_2_run
forcegate-train export round_2_run --out round_2_repository
forcegate-train explore on_policy_1_frames.h5 --student round_2_repository/painn_tiny/1 \
    --out on_policy_2_frames.h5 --steps 160 --every 40 --starts-per-molecule 2 \
    --temperatures 300,500,1000,300 --seed 24
forcegate-train label on_policy_2_frames.h5 --out on_policy_2.h5

# What is looked at once, by `validate`: longer runs of the teacher, unseen molecules.
forcegate-train sample molecules.csv --out test_frames.h5 --splits test \
    --driver tblite:GFN2-xTB --molecules-per-split 100 --temperatures 300,500 \
    --frames-per-molecule 10 --equilibration-steps 200 --decorrelation-steps 50 \
    --distorted-share 0 --dimer-share 0 --seed 25
forcegate-train label test_frames.h5 --out forcegate_v1_test.h5

forcegate-train merge force_field.h5 on_policy_1.h5 on_policy_2.h5 validation.h5 \
    --out forcegate_v1.h5
