#!/usr/bin/env bash
# Generate an example of every data set. Usage: generation.sh [DIR], default ./data
set -eu
cd "$(dirname "$0")"
directory=${1:-data}

python3 data_generation.py \
    --output_path "$directory/imseg" \
    --desired_size 1000000000 \
    --workload imseg

python3 data_generation.py \
    --output_path "$directory/bert" \
    --desired_size 1000000000 \
    --workload bert

for format in text npz bin; do
    python3 data_generation.py \
        --output_path "$directory/dlrm-$format" \
        --desired_size 1000000000 \
        --workload dlrm \
        --data_format "$format"
done
