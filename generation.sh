#!/usr/bin/env bash
# Generate an example of every data set. Usage: generation.sh [DIR], default ./data
set -eu
cd "$(dirname "$0")"
python3 data_generation.py \
    --output_path "${1:-data}/imseg" \
    --desired_size 1000000000 \
    --workload imseg
