"""Read imseg as the reference does: torch's loader and sampler over np.load, a process a rank.

The cases are shared by a DistributedSampler: one permutation for all ranks, of which each takes
every ranks-th, both sampler and loader dropping what is left over. A sample is two np.load, image
and label, of which a crop is kept. The evaluation cases are split into contiguous parts; a rank
reads its part one by one, shuffled. Where the training computes, this sleeps.

Usage: python tests/reference/imseg.py --data DIR --ranks 8 --epochs 2 --batch-size 2
Source: the facts of the image segmentation reference, variant of the published runs.
"""

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import ranks
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

CROP = 128


class Cases(Dataset):
    """Pairs of files; of a volume the corner is kept, or all of it if `crops` is false."""

    def __init__(self, images, crops):
        self.images = images
        self.crops = crops

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        label = image.with_name(image.name.replace("_x.npy", "_y.npy"))
        volumes = (np.load(image), np.load(label))
        return tuple(cropped(volume) if self.crops else volume for volume in volumes)


def cropped(volume):
    """Return 128 voxels a side; what a smaller volume lacks is zero."""
    part = volume[:, :CROP, :CROP, :CROP]
    crop = np.zeros((1, CROP, CROP, CROP), volume.dtype)
    crop[tuple(map(slice, part.shape))] = part
    return crop


def split(directory, evaluation_cases):
    """Return the images of training and of evaluation, by the number in their names."""
    images = sorted(directory.glob("*_x.npy"))
    wanted = set(evaluation_cases.read_text().split()) if evaluation_cases else set()
    of_evaluation = [image for image in images if image.name.split("_")[-2] in wanted]
    return [image for image in images if image not in of_evaluation], of_evaluation


def given(order):
    """Let torch draw this permutation instead of its own, while the context lasts."""
    if order is None:
        return nullcontext()

    def permutation(count, generator=None):  # noqa: ARG001 - torch's own has it
        assert sorted(order) == list(range(count))
        return torch.tensor(order)

    return patch.object(torch, "randperm", permutation)


def train(rank, options):
    """Read all epochs and evaluations of a rank."""
    training, evaluation = split(options.data, options.evaluation_cases)
    sampler = DistributedSampler(
        cases := Cases(training, crops=True),
        num_replicas=options.ranks,
        rank=rank.number,
        shuffle=True,
        seed=options.seed,
        drop_last=True,
    )
    loader = DataLoader(
        cases,
        batch_size=options.batch_size,
        sampler=sampler,
        num_workers=options.loader_workers,
        drop_last=True,
    )
    part = np.array_split(np.array(evaluation, dtype=object), options.ranks)[rank.number]
    own = Cases(list(part), crops=False)
    orders = json.loads(options.orders.read_text()) if options.orders else {}
    for epoch in range(1, options.epochs + 1):
        sampler.set_epoch(epoch)
        with given(orders.get(f"train {epoch}")):
            for step, _ in enumerate(loader, 1):
                rank.compute(f"train-{epoch:05d}-{step:05d}")
        if 0 < options.eval_from <= epoch and (epoch - options.eval_from) % options.eval_every == 0:
            with given(orders.get(f"eval {epoch} {rank.number}")):
                evaluate(rank, own, epoch, options)


def evaluate(rank, cases, epoch, options):
    """Read a rank's part of the evaluation cases; the ranks do not wait for each other."""
    workers = options.loader_workers
    for step, _ in enumerate(DataLoader(cases, shuffle=True, num_workers=workers), 1):
        rank.mark(f"eval-{epoch:05d}-{step:05d}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    ranks.add_flags(parser)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--loader-workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluation-cases", type=Path, help="file of five-digit numbers")
    parser.add_argument("--eval-from", type=int, default=0)
    parser.add_argument("--eval-every", type=int, default=1)
    parser.add_argument(
        "--orders",
        type=Path,
        help='JSON of permutations to take instead of torch\'s: "train EPOCH", "eval EPOCH RANK"',
    )
    options = parser.parse_args()
    ranks.check_files(parser, options.data, "*_x.npy")
    ranks.run(options.ranks, train, options)


if __name__ == "__main__":
    main()
