"""A Beam program: ``python -m tests.engines.beam_pipeline JOB``, where JOB is JSON, with the fields of ``Job``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelMetadata, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import ExternalEnvironment

from tests.fakes.processes import wait_until
from tfimm_resolver.integrations.beam import SavedModelHandler


@dataclass
class Job:
    """What the program has to do.

    Attributes:
        handle: of the model.
        flags: the options of the pipeline.
        folder: where the workers write one line for each row.
        rows: how many numbers, from 0, are given to the model.
        workers: how many processes have to get a row before any of them ends its first row.
        handler: the options of the handler.
        refresh: the handle of a side input that replaces the model.
        pool: the address of a pool that starts the workers.
    """

    handle: str
    flags: list[str]
    folder: str
    rows: int = 40
    workers: int = 1
    handler: dict[str, Any] = field(default_factory=dict)
    refresh: str = ""
    pool: str = ""


def note_row(result: PredictionResult, folder: str, workers: int) -> None:
    """Write a row into the file of this process; wait until as many processes have one."""
    value = float(result.inference["y"])
    with open(os.path.join(folder, f"{os.getpid()}.jsonl"), "a") as file:
        file.write(json.dumps([float(result.example), value, result.model_id]) + "\n")
    wait_until(lambda: len(os.listdir(folder)) >= workers, 30)


def main(job: Job) -> None:
    """Run the pipeline until its end."""
    runner = FnApiRunner(ExternalEnvironment(job.pool)) if job.pool else None
    with beam.Pipeline(runner, options=PipelineOptions(job.flags)) as pipeline:
        metadata = None
        if job.refresh:
            metadata = pipeline | "refresh" >> beam.Create([ModelMetadata(job.refresh, "newer")])
        handler = SavedModelHandler(job.handle, max_batch_size=4, **job.handler)
        _ = (
            pipeline
            | "rows" >> beam.Create([np.float32(row) for row in range(job.rows)])
            | beam.Reshuffle()
            | RunInference(handler, model_metadata_pcoll=metadata)
            | "note" >> beam.Map(note_row, job.folder, job.workers)
        )


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
