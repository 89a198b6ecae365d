#!/bin/sh
# Trains and exports all four students from the published data: from the repository's root,
#
#   sh examples/train_students.sh cuda            # batches of 256: ten minutes of a large GPU
#   sh examples/train_students.sh cpu             # batches of 16: days; stop it, and call it again
#   sh examples/train_students.sh cpu 40 tried 8  # a dry run: 40 steps each, into the folder `tried`
#
# Stopped, it goes on where it was. The size for a GPU is a plan: nobody has measured it there.
set -eu
device=$1
steps=${2:-}
out=${3:-runs/$device}
batch=${4:-}
train=${FORCEGATE_TRAIN:-forcegate-train}
data=datasets/forcegate_v3

student() {
    # name, learning rate, steps on a GPU, steps on a processor
    if [ "$device" = cuda ]; then size=${batch:-256} length=${steps:-$3}; else
        size=${batch:-16} length=${steps:-$4}; fi
    $train fit ${data}_[1-6].h5 ${data}_validation.h5 --charges --model "$1" --out "$out/$1" --device "$device" \
        --batch-size "$size" --steps "$length" --learning-rate "$2" --warmup-steps 300 \
        --validate-steps 2000 --late-energy-weight 12
    [ -d "$out/models/$1/1" ] || $train export "$out/$1" --out "$out/models" --version 1
}

student painn_ultra_tiny 0.003 12000 200000
student painn_tiny 0.003 12000 200000
student painn_compact 0.003 10000 160000
student painn_base 0.002 8000 120000

# Errors of forces: what a second student says beside each.
for model in painn_base painn_compact painn_tiny painn_ultra_tiny; do
    partner=painn_compact
    [ "$model" != painn_compact ] || partner=painn_base
    $train calibrate-forces "$out/models/$model/1" --partner "$out/models/$partner/1" \
        --data ${data}_validation.h5
done
