#!/bin/sh
# How forcegate_v3 is made, as far as it is: run it in an empty folder, with forcegate installed.
# Each command continues where it was stopped.
set -eu

# Twelve elements, ions, zwitterions. Five minutes on one core.
forcegate-train molecules --recombine 10500 --fuse 500 --bridge 400 --peptides 900 \
    --mutate 13500 --ionise 3600 --seed 51 --out molecules.csv
# More of what these have too few of: edits of N-oxides, borates, onium ions and their like, which
# are listed beside this file.
forcegate-train molecules "$(dirname "$0")/forcegate_v3_rare.smi" --mutate 1100 --only-made \
    --seed 56 --out rare.csv

# Round 0: dynamics under a force field, stretched bonds, turned torsions. Half an hour on one core.
forcegate-train sample molecules.csv --out force_field_frames.h5 --splits train \
    --temperatures 300,500,1000,100 --frames-per-molecule 4 --conformers 3 \
    --equilibration-steps 100 --decorrelation-steps 20 \
    --distorted-share 0.25 --dimer-share 0 --seed 52

forcegate-train sample rare.csv --out rare_frames.h5 --splits train \
    --temperatures 300,500,1000,100 --frames-per-molecule 4 --conformers 3 \
    --equilibration-steps 100 --decorrelation-steps 20 \
    --distorted-share 0.25 --dimer-share 0 --seed 57

# Contacts: pairs turned to each other as they bind, and clusters. Ten minutes on one core.
forcegate-train contacts molecules.csv --out contact_frames.h5 --splits train \
    --pairs 4000 --clusters 1000 --seed 53
forcegate-train contacts molecules.csv --out contact_frames_validation.h5 --splits validation \
    --pairs 120 --clusters 25 --seed 54
forcegate-train contacts molecules.csv --out contact_frames_test.h5 --splits test \
    --pairs 120 --clusters 25 --seed 55
