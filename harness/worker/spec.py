"""The order a worker process receives: one JSON object, written by the host, read here."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Cache = Literal["cold", "once", "warm", "asis"]
Buffer = Literal["fresh", "reuse"]
Shuffle = Literal["none", "batches"]
AcceleratorKind = Literal["emulated", "tensorflow"]
LoaderKind = Literal["native", "tfdata"]
ByteSource = Literal["proc", "nfs-mountstats", "lustre-osc", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """Declared time of a synchronised step: normal, never below zero, one draw for all ranks."""

    mean_s: float
    sd_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """Every epoch reads the same few batches, so that memory holds them from the first one on.

    Args:
        idle_epochs: how many epochs, the first ones, declare no time.
        samples: of how many samples all batches are made, where each is a file of its own.
    """

    idle_epochs: int
    samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """What makes a training slow on purpose, to see whether it is found. Never a user's option.

    Args:
        read_bytes_per_s: what reads of all ranks together come to at most; None: as they are.
        slow_rank: whose reads take `slow_read_s` longer each, asleep; None for no rank.
        slow_read_s: likewise.
        burn_s: CPU time that is burnt after each sample was read.
    """

    read_bytes_per_s: int | None = None
    slow_rank: int | None = None
    slow_read_s: float = 0.0
    burn_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec:
    """Everything a training run needs to know inside its container.

    Directories are absolute and the same inside and outside. `eval_from` 0 means no evaluation;
    evaluation runs after epoch e when e >= eval_from and (e - eval_from) % eval_every == 0, and
    in the midst of such an epoch after every `eval_every_steps`, 0 for never, which is dlrm's.
    `steps` of an epoch, 0 for a pass over the data set. `pipelines` of bert: 0 for one per rank,
    1 for one that reads for all. `loader` "tfdata" is bert's, too: TensorFlow reads, and leaves no
    rows. `shuffle` is of dlrm's rows.
    `accelerators` is how many, `accelerator` what they are. Only emulated ones have a `step_time`;
    `gpus` gives a device to each of TensorFlow's, instead of a part of the processor.
    `evaluation_case_s` None reads the evaluation cases back to back. The first `warmup_epochs` are
    in no figure. `stall_s` without any movement, or `max_duration_s` altogether, end the run; None
    never does.
    `rehearsal` and `planted` are None in a training that a user asks for.
    `byte_source` says where bytes from the storage are counted; `group_device` is the disk, as
    "MAJOR:MINOR", of whose bytes the control group is asked, None where others share the group.
    `memory_bytes` is the limit that must be in force, None for none.
    `records` of bert's training files, in the order of their names, where they were counted before
    and no manifest has them; None: not yet.
    """

    workload: str
    data_dir: str
    out_dir: str
    checkpoint_dir: str | None
    checkpoint_bytes: int
    accelerator: AcceleratorKind
    gpus: bool
    accelerators: int
    batch_size: int
    epochs: int
    steps: int
    pipelines: int
    loader: LoaderKind
    seed: int
    eval_from: int
    eval_every: int
    eval_every_steps: int
    loader_workers: int
    prefetch_batches: int
    shuffle: Shuffle
    buffer: Buffer
    cache: Cache
    step_time: StepTime | None
    evaluation_case_s: float | None
    rehearsal: Rehearsal | None = None
    planted: Planted | None = None
    warmup_epochs: int = 0
    stall_s: float | None = None
    max_duration_s: float | None = None
    byte_source: ByteSource = "proc"
    group_device: str | None = None
    memory_bytes: int | None = None
    records: tuple[int, ...] | None = None

    @property
    def leaves_rows(self) -> bool:
        """Whether each call on data is made and recorded here; tf.data makes its own."""
        return self.loader == "native"

    def to_json(self) -> str:
        """Return the spec as JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)

    @classmethod
    def read(cls, path: Path) -> "WorkerSpec":
        """Read what `to_json` wrote."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if values["step_time"] is not None:
            values["step_time"] = StepTime(**values["step_time"])
        for name, kind in (("rehearsal", Rehearsal), ("planted", Planted)):
            if values.get(name) is not None:
                values[name] = kind(**values[name])
        if values.get("records") is not None:
            values["records"] = tuple(values["records"])
        return cls(**values)
