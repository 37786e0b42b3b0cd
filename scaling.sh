#!/usr/bin/env bash
# Scale an example of every data set. Usage: scaling.sh [INPUT] [DIR], default ./data, as
# generation.sh makes it, and ./scaled
set -eu
cd "$(dirname "$0")"
input=${1:-data}
directory=${2:-scaled}

python3 data_scaling.py \
    --input_path "$input/imseg" \
    --output_path "$directory/imseg" \
    --desired_size 2000000000 \
    --workload imseg

python3 data_scaling.py \
    --input_path "$input/bert" \
    --output_path "$directory/bert" \
    --desired_size 2000000000 \
    --workload bert

for format in text npz bin; do
    python3 data_scaling.py \
        --input_path "$input/dlrm-$format" \
        --output_path "$directory/dlrm-$format" \
        --desired_size 2000000000 \
        --workload dlrm
done
