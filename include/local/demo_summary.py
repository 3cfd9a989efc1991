"""What landed where, as a value for scripts and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.assets.record import link_ids
from include.local.demo_landed import Landed, Sources

if TYPE_CHECKING:
    from rich.console import Console

TOP = "core files"
"""Stands for the files at the top of the asset."""


def summarise(landed: Landed, sources: Sources, faults: Sequence[str]) -> dict[str, Any]:
    """Everything worth knowing about a run, as JSON."""
    report = landed.report
    return {
        "location": str(landed.plan.location),
        "run": {"dag_id": landed.plan.dag_id, "run_id": landed.plan.run_id}
        | {"state": landed.run_state},
        "folders": _folders(landed, sources),
        "records": [
            *(_record(record) | {"status": landed.metadata_status} for record in landed.records),
            *map(_record, landed.result_records),
        ],
        "code_ocean": [
            {"id": asset.id, "name": asset.name, "type": asset.type, "state": asset.state}
            for asset in (*landed.assets, *landed.results)
        ],
        "mails": [{"to": mail.to, "subject": mail.subject} for mail in landed.mails],
        "report": None
        if report is None
        else {
            "asked": report.asked,
            "done": len(report.done),
            "unchanged": len(report.unchanged),
            "skipped": list(report.skipped),
            "failed": report.failed,
        },
        "faults": list(faults),
    }


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(record.get("_id")),
        "name": record.get("name"),
        "location": record.get("location"),
        "code_ocean": list(link_ids(record)),
    }


def _folders(landed: Landed, sources: Sources) -> dict[str, dict[str, Any]]:
    """Per folder at the top of the asset: files and bytes stored, bytes of its source and the ratio."""
    folders: dict[str, dict[str, Any]] = {}
    for name, content in landed.objects.items():
        label = name.partition("/")[0] if "/" in name else TOP
        folder = folders.setdefault(label, {"files": 0, "size_bytes": 0})
        folder["files"] += 1
        folder["size_bytes"] += content.size_bytes
    for label, folder in folders.items():
        source = sources.get(label)
        if source is not None and folder["size_bytes"]:
            folder["source_bytes"] = sum(file.content.size_bytes for file in source.values())
            folder["ratio"] = round(folder["source_bytes"] / folder["size_bytes"], 2)
    return folders


def show(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the summary."""
    _show_folders(console, summary)
    for heading, rows in (
        ("DocDB", [_record_line(record) for record in summary["records"]]),
        ("Code Ocean", [_asset_line(asset) for asset in summary["code_ocean"]]),
        ("Mails", [f"{mail['subject']}  to {mail['to']}" for mail in summary["mails"]]),
        ("Report", [_report_line(summary["report"])]),
    ):
        console.print(f"\n[bold]{heading}[/bold]")
        for row in rows or ["nothing"]:
            console.print(f"  {row}", markup=False, highlight=False, soft_wrap=True)


def show_verdict(console: Console, faults: Sequence[str]) -> None:
    """Print what the check against the stores says."""
    if not faults:
        console.print(
            "\n[bold green]All is there and right:[/bold green] every source file accounted for; record, "
            "asset and location agree,\none of each; mails arrived; staging folder gone; source untouched.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        return
    console.print(f"\n[bold red]{len(faults)} things are wrong:[/bold red]", highlight=False)
    for fault in faults:
        console.print(f"  - {fault}", markup=False, highlight=False, soft_wrap=True)


def _show_folders(console: Console, summary: Mapping[str, Any]) -> None:
    from rich.table import Table

    console.print(f"\n[bold]S3[/bold]  {summary['location']}/", highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("  folder")
    for heading in ("files", "stored", "source", "ratio"):
        table.add_column(heading, justify="right")
    for label, folder in sorted(summary["folders"].items()):
        table.add_row(
            f"  {label if label == TOP else label + '/'}",
            str(folder["files"]),
            size_text(folder["size_bytes"]),
            size_text(folder["source_bytes"]) if "source_bytes" in folder else "",
            f"{folder['ratio']:.2f}" if "ratio" in folder else "",
        )
    console.print(table)


def _record_line(record: Mapping[str, Any]) -> str:
    status = f"  {record['status']}" if "status" in record else ""
    links = ", ".join(record["code_ocean"]) or "nothing"
    return f"{record['name']}{status}\n    {record['location']}\n    Code Ocean: {links}"


def _asset_line(asset: Mapping[str, Any]) -> str:
    return f"{asset['name']}  {asset['type']}, {asset['state']}\n    {asset['id']}"


def _report_line(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return "none"
    skipped = f" ({', '.join(report['skipped'])})" if report["skipped"] else ""
    return (
        f"{report['asked']} tasks: {report['done']} done, {report['unchanged']} unchanged, "
        f"{len(report['skipped'])} skipped{skipped}, {len(report['failed'])} failed"
    )


def size_text(size_bytes: float) -> str:
    """``4.8 MB``: decimal units, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
