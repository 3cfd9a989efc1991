"""What a stand-in keeps: documents by kind and id, in memory and in one file that survives a kill."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class StateFile:
    """JSON documents by kind and id; each change is one transaction on disk.

    Reads come from memory. Written by one thread at a time: the stand-ins change state only in
    their event loop. SQLite rather than one JSON file, because rewriting a hundred thousand
    documents for each new one would make the stand-in slower than what it stands in for.

    Args:
        path: the SQLite file, made when missing; None keeps everything in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
        )
        # The page cache of the system outlives a killed process; only a power cut could lose the
        # last changes of a stand-in.
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS documents"
            " (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id))"
        )
        self._documents: dict[str, dict[str, Document]] = {}
        for kind, id_, body in self._file.execute(
            "SELECT kind, id, body FROM documents ORDER BY rowid"
        ):
            self._documents.setdefault(kind, {})[id_] = json.loads(body)

    def get(self, kind: str, id_: str) -> Document | None:
        """The document, or None when there is none."""
        return self._documents.get(kind, {}).get(id_)

    def all(self, kind: str) -> Iterator[Document]:
        """Every document of a kind, in the order they were first put."""
        yield from self._documents.get(kind, {}).values()

    def put(self, kind: str, id_: str, document: Document) -> None:
        """Keep a document, replacing the one before."""
        self.put_many(kind, [(id_, document)])

    def put_many(self, kind: str, documents: Iterable[tuple[str, Document]]) -> None:
        """Keep several documents in one transaction."""
        kept = self._documents.setdefault(kind, {})
        self._file.execute("BEGIN")
        for id_, document in documents:
            self._file.execute(
                "INSERT INTO documents VALUES (?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                (kind, id_, json.dumps(document)),
            )
            kept[id_] = document
        self._file.execute("COMMIT")

    def remove(self, kind: str, id_: str) -> bool:
        """Forget a document; whether there was one."""
        self._file.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, id_))
        return self._documents.get(kind, {}).pop(id_, None) is not None

    def clear(self) -> None:
        """Forget everything."""
        self._file.execute("DELETE FROM documents")
        self._documents.clear()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
