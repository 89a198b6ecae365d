#!/bin/sh
# How forcegate_v3 was made: run it in an empty folder beside forcegate_v1.h5 and forcegate_v2.h5,
# with forcegate installed. Each command continues where it was stopped. It was not run as a whole:
# each command was, beside other work, in some hours on two cores.
#
# When it was made, `molecules` still made the ions that `merge --likely-only` leaves out, so that its
# first command gives other molecules today; those of forcegate_v3 are in its tables. And molecules of
# one or two heavy atoms were held out by their hash, as others are: 45 frames of such alone in the
# first and the validation file, and 48 in the test file, count as training wherever they are read.
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

# Labels, and those of forcegate_v1 and v2 by the new teacher: 74 frames a second on two cores.
forcegate-train teacher fetch aimnet2
for frames in forcegate_v1 forcegate_v2 force_field_frames rare_frames contact_frames \
    contact_frames_validation contact_frames_test; do
    forcegate-train label "$frames.h5" --teacher aimnet2 --out "${frames}_labelled.h5"
done

# Validation and test: dynamics of one member of the teacher, labelled by all four.
forcegate-train sample molecules.csv --out start_validation.h5 --splits validation \
    --temperatures 300,500,1000,100 --frames-per-molecule 2 --conformers 2 \
    --equilibration-steps 100 --decorrelation-steps 20 \
    --distorted-share 0 --dimer-share 0 --seed 71
forcegate-train explore start_validation.h5 --driver aimnet2-member0 \
    --out dynamics_validation.h5 --steps 60 --every 20 --keep 2 \
    --temperatures 300,500,100,1000 --starts-per-molecule 1 --seed 72
forcegate-train label dynamics_validation.h5 --teacher aimnet2 --out dynamics_validation_labelled.h5
forcegate-train merge dynamics_validation_labelled.h5 contact_frames_validation_labelled.h5 \
    --out forcegate_v3_validation.h5 --likely-only --round-forces
forcegate-train sample molecules.csv --out start_test.h5 --splits test \
    --temperatures 300,500,1000,100 --frames-per-molecule 2 --conformers 2 \
    --equilibration-steps 100 --decorrelation-steps 20 \
    --distorted-share 0 --dimer-share 0 --seed 73
forcegate-train explore start_test.h5 --driver aimnet2-member0 \
    --out dynamics_test.h5 --steps 60 --every 20 --keep 2 \
    --temperatures 300,500,100,1000 --starts-per-molecule 1 --seed 74
forcegate-train label dynamics_test.h5 --teacher aimnet2 --out dynamics_test_labelled.h5
forcegate-train merge dynamics_test_labelled.h5 contact_frames_test_labelled.h5 \
    --out forcegate_v3_test.h5 --likely-only --round-forces

# The force field's frames were published in two files, which together are what the last command
# makes, in another order.
forcegate-train merge forcegate_v1_labelled.h5 forcegate_v2_labelled.h5 \
    rare_frames_labelled.h5 contact_frames_labelled.h5 \
    --out forcegate_v3_1.h5 --likely-only --round-forces
forcegate-train merge force_field_frames_labelled.h5 \
    --out forcegate_v3_2_and_3.h5 --likely-only --round-forces

# Molecules of one or two heavy atoms, by themselves and with others of up to four: they are trained
# on always.
small() {
    python -c "
import csv, sys
head, *rows = csv.reader(open('molecules.csv', newline=''))
rows += [row for row in csv.reader(open('rare.csv', newline='')) if row != head]
kept = {row[0]: row for row in rows if int(row[4]) <= $1}
csv.writer(sys.stdout).writerows([head, *kept.values()])"
}
small 2 > tiny.csv
small 4 > small.csv
forcegate-train sample tiny.csv --out tiny_frames.h5 --splits train \
    --temperatures 300,500,1000,100 --frames-per-molecule 40 --conformers 1 \
    --equilibration-steps 100 --decorrelation-steps 20 \
    --distorted-share 0.25 --dimer-share 0 --seed 94
forcegate-train contacts small.csv --out small_contact_frames.h5 --splits train \
    --pairs 1200 --clusters 500 --seed 93
for frames in tiny_frames small_contact_frames; do
    forcegate-train label "$frames.h5" --teacher aimnet2 --out "${frames}_labelled.h5"
done
forcegate-train merge tiny_frames_labelled.h5 small_contact_frames_labelled.h5 \
    --out forcegate_v3_5.h5 --likely-only --round-forces

# One more frame of each molecule, from another conformer; of what could be labelled, as many as a
# small file holds.
forcegate-train sample molecules.csv --out more_frames.h5 --splits train \
    --temperatures 300,1000,500,100 --frames-per-molecule 1 --conformers 1 \
    --equilibration-steps 100 --decorrelation-steps 20 \
    --distorted-share 0.25 --dimer-share 0 --seed 92
forcegate-train label more_frames.h5 --teacher aimnet2 --out more_frames_labelled.h5
forcegate-train merge more_frames_labelled.h5 \
    --out forcegate_v3_4.h5 --likely-only --most 17000 --round-forces

# Three frames each of further molecules, ions more often than before.
forcegate-train molecules --mutate 5000 --ionise 8000 --only-made --seed 111 --out ions.csv
forcegate-train sample ions.csv --out ion_frames.h5 --splits train \
    --temperatures 300,500,1000 --frames-per-molecule 3 --conformers 3 \
    --equilibration-steps 100 --decorrelation-steps 20 \
    --distorted-share 0.25 --dimer-share 0 --seed 112
forcegate-train label ion_frames.h5 --teacher aimnet2 --out ion_frames_labelled.h5
forcegate-train merge ion_frames_labelled.h5 --out forcegate_v3_6.h5 --likely-only --round-forces
