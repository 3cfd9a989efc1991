"""Is everything there and right? Every source file accounted for, and the stores agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from include.acquisitions.source_matching import Content
from include.acquisitions.upload_receipt import RECEIPT_NAME
from include.assets.record import link_ids
from include.local.demo_job import PIPELINE_ID
from include.local.demo_landed import Landed, Sources

METADATA = "metadata"
"""Label of the folder with the rig's core files."""


def find_faults(landed: Landed, before: Sources, after: Sources) -> list[str]:
    """Everything that is not as it should be; empty when all is.

    Args:
        landed: what the stores hold.
        before: the acquisition before the run.
        after: the acquisition now.
    """
    return [
        *_of_run(landed),
        *_of_sources(before, after),
        *_of_upload(landed),
        *(fault for label in after for fault in _of_folder(landed, label, after[label])),
        *_of_record(landed),
        *_of_code_ocean(landed),
        *_of_mails(landed),
        *_of_what_should_be_gone(landed),
    ]


def _of_run(landed: Landed) -> Iterator[str]:
    if landed.run_state != "success":
        yield f"the run ended as {landed.run_state}"
    if landed.metadata_status != "Valid":
        yield f"the metadata is {landed.metadata_status}, expected Valid"
    if landed.report is None:
        yield "the runs bucket holds no report of the run"
        return
    for item, reason in landed.report.failed.items():
        yield f"{item} failed: {reason}"


def _of_sources(before: Sources, after: Sources) -> Iterator[str]:
    for label in before:
        was, now = before[label], after.get(label, {})
        for name in sorted(set(was) | set(now)):
            if was.get(name) != now.get(name):
                change = (
                    "is gone" if name not in now else "is new" if name not in was else "changed"
                )
                yield f"source {label}/{name} {change}"


def _of_upload(landed: Landed) -> Iterator[str]:
    """S3 holds what the receipt says, and nothing else."""
    expected = set(landed.receipt) | {RECEIPT_NAME}
    for name in sorted(set(landed.objects) - expected):
        yield f"S3 holds {name}, which the receipt does not name"
    for name, content in landed.receipt.items():
        yield from _differs(landed, name, content, "the receipt")


def _of_folder(landed: Landed, label: str, files: Mapping[str, Any]) -> Iterator[str]:
    if label == METADATA:
        for name, file in files.items():
            yield from _differs(landed, name, file.content, f"{METADATA}/{name}")
    elif landed.plan.modalities[label].command_script is None:
        for name, file in files.items():
            yield from _differs(landed, f"{label}/{name}", file.content, "its source")
    elif label in landed.proofs:
        yield from _against_proof(landed, label, files)
    else:
        yield from _against_process(landed, label, files)


def _against_proof(landed: Landed, label: str, files: Mapping[str, Any]) -> Iterator[str]:
    """The transformation decoded these outputs and found exactly these sources."""
    proof = landed.proofs[label]
    for name in sorted(set(files) | set(proof.sources)):
        now = files[name].content if name in files else None
        if proof.sources.get(name) != now:
            yield f"{label}/{name} is not what the proof of {label} was made for"
    if not proof.outputs:
        yield f"the proof of {label} names no outputs"
    for name, content in proof.outputs.items():
        yield from _differs(landed, f"{label}/{name}", content, f"the proof of {label}")


def _against_process(landed: Landed, label: str, files: Mapping[str, Any]) -> Iterator[str]:
    """Encoded with loss: named as done in ``processing.json``, and under its name in S3; or verbatim."""
    processes = landed.core_files.get("processing.json", {}).get("data_processes", [])
    made = next((one for one in processes if one.get("output_path") == label), None)
    statistics = (made or {}).get("output_parameters") or {}
    items = {item["name"]: item["value"] for item in statistics.get("items") or ()}
    stored = {PurePosixPath(name).with_suffix("") for name in landed.objects}
    for name, file in files.items():
        if name not in items:
            yield from _differs(landed, f"{label}/{name}", file.content, "its source")
        elif items[name] not in {"done", "unchanged"}:
            yield f"{label}/{name}: processing.json calls it {items[name]}"
        elif PurePosixPath(label, name).with_suffix("") not in stored:
            yield f"{label}/{name} was encoded, but S3 holds nothing of its name"


def _differs(landed: Landed, name: str, content: Content, whose: str) -> Iterator[str]:
    held = landed.objects.get(name)
    if held is None:
        yield f"S3 lacks {name}"
    elif held != content:
        yield f"S3 holds another {name} than {whose}: {held}, expected {content}"


def _of_record(landed: Landed) -> Iterator[str]:
    if len(landed.records) != 1:
        yield f"DocDB holds {len(landed.records)} records of {landed.plan.location}, expected one"
    aggregate = landed.core_files.get("metadata.nd.json")
    if aggregate is None:
        yield "S3 holds no metadata.nd.json"
    for record in landed.records:
        expected = {"name": landed.plan.asset_name, "location": str(landed.plan.location)}
        for field, value in expected.items():
            if record.get(field) != value:
                yield f"the record's {field} is {record.get(field)!r}, expected {value!r}"
            if aggregate is not None and aggregate.get(field) != value:
                yield f"metadata.nd.json has {aggregate.get(field)!r} as {field}, expected {value!r}"
        linked = list(link_ids(record))
        known = [asset.id for asset in landed.assets]
        if linked != known:
            yield f"the record links to {linked}, and Code Ocean holds {known}"


def _of_code_ocean(landed: Landed) -> Iterator[str]:
    if len(landed.assets) != 1:
        yield f"Code Ocean holds {len(landed.assets)} assets of {landed.plan.location}, expected one"
    if len(landed.results) != 1:
        yield f"Code Ocean holds {len(landed.results)} results of {PIPELINE_ID}, expected one"
    for asset in (*landed.assets, *landed.results):
        if asset.state != "ready":
            yield f"data asset {asset.name} is {asset.state}, expected ready"
    for location, files in landed.result_files.items():
        if not files:
            yield f"S3 holds nothing of the result {location}"
    recorded = sorted(str(record.get("name")) for record in landed.result_records)
    if recorded != sorted(asset.name for asset in landed.results):
        yield f"DocDB holds records of results {recorded}, expected one of each"
    ids = {asset.name: asset.id for asset in landed.results}
    for record in landed.result_records:
        linked, known = list(link_ids(record)), ids.get(str(record.get("name")))
        if linked != [known]:
            yield f"the record of {record.get('name')} links to {linked}, expected {known}"


def _of_mails(landed: Landed) -> Iterator[str]:
    expected = [f"Airflow {verb} {landed.plan.asset_name}" for verb in ("started", "finished")]
    subjects = [mail.subject for mail in landed.mails]
    if subjects != expected:
        yield f"mails {subjects}, expected {expected}"
    for mail in landed.mails:
        if mail.to != landed.plan.job.user_email:
            yield f"the mail {mail.subject!r} went to {mail.to}"


def _of_what_should_be_gone(landed: Landed) -> Iterator[str]:
    if landed.has_staging:
        yield f"the staging folder {landed.plan.staging_folder} is still there"
    if landed.is_claimed:
        yield f"{landed.plan.location} is still held by a run"
