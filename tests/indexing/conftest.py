"""A bucket with two collections on real servers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.indexing.lab import Lab


@pytest.fixture
def lab(s3_server: Any, bucket: str, docdb_client: Any) -> Iterator[Lab]:
    database = docdb_client[f"tests_{uuid.uuid4().hex[:12]}"]
    v1, v2 = database["data_assets"], database["data_assets_v2"]
    yield Lab(s3_server, bucket, v1, v2)
    v1.drop()
    v2.drop()
