"""A metadata service of a few dictionaries, and sources of one acquisition."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from include.acquisitions.data_description import Acquired
from include.acquisitions.gathered_metadata import GatheredMetadata
from include.acquisitions.metadata import CoreFileMapper, gather_preliminary_metadata
from include.acquisitions.metadata_settings import GatherSettings
from include.local.sample_metadata import sample_acquisition, sample_instrument

ZONE = timezone(timedelta(hours=-7))
STARTED_AT = datetime(2023, 4, 3, 18, 17, 7, tzinfo=ZONE)
ACQUIRED = Acquired(
    asset_name="ecephys_632269_2023-04-03_18-17-07",
    subject_id="632269",
    project_name="Learning",
    modalities=("ecephys", "behavior-videos"),
    acq_datetime=STARTED_AT,
)
PERSON = {"object_type": "Person", "name": "Jane Doe"}
FUNDING = {
    "object_type": "Funding",
    "funder": {
        "name": "Allen Institute",
        "abbreviation": "AI",
        "registry": "Research Organization Registry (ROR)",
        "registry_identifier": "03cpe7c52",
    },
    "grant_number": None,
    "fundee": [PERSON],
}
SUBJECT = {
    "object_type": "Subject",
    "schema_version": "2.3.3",
    "subject_id": "632269",
    "subject_details": {
        "object_type": "Mouse subject",
        "sex": "Female",
        "date_of_birth": "2022-05-01",
        "strain": {"name": "C57BL/6J", "species": "Mus musculus"},
        "species": {"name": "Mus musculus", "common_name": "House mouse"},
        "genotype": "wt/wt",
        "source": {"name": "Jackson Laboratory", "abbreviation": "JAX"},
    },
}
PROCEDURES = {"object_type": "Procedures", "schema_version": "2.2.3", "subject_id": "632269"}
INSTRUMENT = sample_instrument(STARTED_AT)
ACQUISITION = sample_acquisition("632269", STARTED_AT, ACQUIRED.modalities)


@dataclass(frozen=True)
class FakeAnswer:
    content: Any
    is_valid: bool = True
    problems: tuple[str, ...] = ()


@dataclass
class FakeService:
    """Answers what it is told to; an exception is raised, None is a definite "none"."""

    answers: Mapping[str, FakeAnswer | Exception | None] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    together: threading.Barrier | None = None
    """When given, every question waits for as many others as the barrier has parties."""

    def _answer(self, name: str, key: str) -> FakeAnswer | None:
        self.asked.append((name, key))
        if self.together:
            self.together.wait(timeout=10)
        answer = (ANSWERS | dict(self.answers))[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def subject(self, subject_id: str) -> FakeAnswer | None:
        return self._answer("subject", subject_id)

    def procedures(self, subject_id: str) -> FakeAnswer | None:
        return self._answer("procedures", subject_id)

    def instrument(self, instrument_id: str) -> FakeAnswer | None:
        return self._answer("instrument", instrument_id)

    def funding(self, project_name: str) -> FakeAnswer | None:
        return self._answer("funding", project_name)

    def investigators(self, project_name: str) -> FakeAnswer | None:
        return self._answer("investigators", project_name)


NOT_VALIDATED = ("Models have not been validated.",)
ANSWERS: dict[str, FakeAnswer | Exception | None] = {
    "subject": FakeAnswer(SUBJECT),
    "procedures": FakeAnswer(PROCEDURES),
    "instrument": FakeAnswer([INSTRUMENT], is_valid=False, problems=NOT_VALIDATED),
    "funding": FakeAnswer([FUNDING]),
    "investigators": FakeAnswer([PERSON]),
}


@dataclass
class Place:
    """Folders of one run under a temporary one."""

    root: Path

    @property
    def asset(self) -> Path:
        return self.root / "staging" / "asset"

    @property
    def work(self) -> Path:
        return self.root / "staging" / "work"

    @property
    def user(self) -> Path:
        return self.root / "source" / "metadata"

    def give(self, **files: Any) -> Path:
        """Write the user's files: field → content, or bytes as they are."""
        self.user.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            (self.user / f"{name}.json").write_bytes(text)
        return self.user

    def gather(
        self,
        service: FakeService | None = None,
        *,
        acquired: Acquired = ACQUIRED,
        mapper: CoreFileMapper | None = None,
        **job_settings: Any,
    ) -> GatheredMetadata:
        """Run the task with the user's folder when it is there."""
        given = {"metadata_dir": str(self.user)} if self.user.exists() else {}
        return gather_preliminary_metadata(
            acquired,
            GatherSettings.parse(given | job_settings),
            service or FakeService(),
            asset_folder=self.asset,
            work_folder=self.work,
            source_roots=[self.root / "source"],
            mapper=mapper,
        )

    def content(self, name: str) -> Any:
        return json.loads((self.asset / f"{name}.json").read_bytes())

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the asset, by its path inside it."""
        return {
            str(path.relative_to(self.asset)): path.read_bytes()
            for path in sorted(self.asset.rglob("*"))
            if path.is_file()
        }
