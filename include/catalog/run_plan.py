"""What an import is going to import: the request, and the datasets, shared out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from include.catalog.discovery import DEPOSITIONS_FOLDER, DatasetFolder
from include.catalog.request import IngestRequest

MOST_ALONE = 1_000
"""So many datasets have a task each; Airflow maps no task over more than 1,024 items."""

SHARES = 50
"""Tasks that more datasets are shared out to."""


class IngestSlice(BaseModel):
    """Datasets that one task imports, one after another."""

    model_config = ConfigDict(frozen=True)

    name: str
    datasets: tuple[str, ...]


class IngestPlan(BaseModel):
    """One run."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    run_key: str
    started_at: datetime
    request: IngestRequest
    slices: tuple[IngestSlice, ...] = ()

    problems: tuple[str, ...] = ()
    """Folders of which it is not known whether they are datasets, and datasets that are not there."""

    @property
    def datasets(self) -> list[str]:
        """Names of all that are imported."""
        return [name for one in self.slices for name in one.datasets]

    @property
    def subjects(self) -> dict[str, str]:
        """Name of every report that the run is to leave → address of what it is about."""
        bucket = f"s3://{self.request.s3_bucket}"
        depositions = {
            deposition_report_name(one): f"{bucket}/{DEPOSITIONS_FOLDER}/{one}/"
            for one in self.request.deposition_ids
        }
        datasets = {dataset_report_name(name): f"{bucket}/{name}/" for name in self.datasets}
        return {**depositions, **datasets}


def dataset_report_name(name: str) -> str:
    """Name of the report of one dataset."""
    return f"dataset-{name}"


def deposition_report_name(number: int) -> str:
    """Name of the report of one deposition that was asked for."""
    return f"deposition-{number}"


def share_datasets(names: Sequence[str]) -> tuple[IngestSlice, ...]:
    """Datasets in their order, each by itself or, when they are very many, in runs of neighbours."""
    if len(names) <= MOST_ALONE:
        return tuple(IngestSlice(name=name, datasets=(name,)) for name in names)
    size = -(-len(names) // SHARES)
    shares = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
    return tuple(
        IngestSlice(name=f"{share[0]} … {share[-1]} ({len(share)})", datasets=share)
        for share in shares
    )


def discovery_problems(
    request: IngestRequest, found: Sequence[DatasetFolder], *, are_left_out: bool = False
) -> tuple[str, ...]:
    """What was asked for and is not imported, with the reason.

    Args:
        are_left_out: whether some that were asked for are left out by name.
    """
    problems = [
        f"{one.name}: could not be looked into: {one.unknown}" for one in found if one.unknown
    ]
    known = {one.name for one in found}
    bucket = f"s3://{request.s3_bucket}"
    problems += [
        f"{name}: there is no such dataset: {bucket}/{DatasetFolder(name).document} is not there"
        for name in request.filter_datasets
        if name not in known and not _is_left_out(name, request)
    ]
    if not found and not problems and not are_left_out:
        problems.append(f"{bucket}/{request.s3_prefix}: there is no dataset that was asked for")
    return tuple(problems)


def _is_left_out(name: str, request: IngestRequest) -> bool:
    prefix = request.s3_prefix
    if prefix and not f"{name}/".startswith(prefix):
        return True
    return any(re.match(expression, name) for expression in request.excluded)
