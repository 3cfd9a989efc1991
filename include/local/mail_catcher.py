"""An SMTP server that keeps every mail as a file and delivers none.

python -m include.local.mail_catcher --host 127.0.0.1 --port 2525 --folder inbox
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

SIZE_LIMIT_BYTES = 32 * 2**20


class Inbox:
    """Writes each mail as one ``.eml`` file; a file that is there is whole.

    The envelope is kept as the headers ``X-MailFrom`` and ``X-RcptTo``: blind copies appear nowhere else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._received = 0
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        """Keep one mail."""
        content = envelope.content or b""
        if isinstance(content, str):
            content = content.encode()
        head = f"X-MailFrom: {envelope.mail_from}\r\nX-RcptTo: {', '.join(envelope.rcpt_tos)}\r\n"
        # Names sort in the order of arrival, also those of one tick of the clock.
        self._received += 1
        name = f"{time.time_ns()}-{self._received:06d}-{os.getpid()}.eml"
        await asyncio.to_thread(self._write, name, head.encode() + content)
        return "250 OK"

    def _write(self, name: str, content: bytes) -> None:
        unfinished = self._folder / f".{name}"
        unfinished.write_bytes(content)
        unfinished.replace(self._folder / name)


async def serve(host: str, port: int, folder: Path) -> None:
    """Take mails until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    inbox = Inbox(folder)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)

    def greet() -> SMTP:
        # The name is given because finding the machine's own may wait for a name server.
        return SMTP(
            inbox, hostname="localhost", data_size_limit=SIZE_LIMIT_BYTES, enable_SMTPUTF8=True
        )

    server = await loop.create_server(greet, host, port)
    try:
        await stopped.wait()
    finally:
        server.close()


def main() -> None:
    """Serve until asked to stop."""
    parser = argparse.ArgumentParser(description="Keep every mail as a file and deliver none.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--folder", type=Path, required=True, help="where the .eml files go")
    given = parser.parse_args()
    asyncio.run(serve(given.host, given.port, given.folder))


if __name__ == "__main__":
    main()
