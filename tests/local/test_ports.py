"""Ports are free when claimed, remembered, and given up when somebody else took them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from include.errors import CommandFailed
from include.local import ports
from include.local.ports import LOOPBACK, Ports


def listen(port: int, host: str = LOOPBACK) -> socket.socket:
    return socket.create_server((host, port))


def test_a_restart_gets_the_same_ports(tmp_path: Path) -> None:
    first = Ports(tmp_path / "ports.json").claim("s3")
    assert Ports(tmp_path / "ports.json").claim("s3") == first


def test_no_two_servers_of_a_stack_get_the_same_port(tmp_path: Path) -> None:
    claimed = [Ports(tmp_path / "ports.json").claim(f"server {number}") for number in range(50)]
    assert len(set(claimed)) == 50


@pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
def test_a_port_that_somebody_else_took_is_replaced(tmp_path: Path, host: str) -> None:
    known = Ports(tmp_path / "ports.json")
    taken = known.claim("s3")
    with listen(taken, host):
        assert known.claim("s3") != taken


def test_servers_that_claim_at_once_lose_no_port(tmp_path: Path) -> None:
    names = [f"server {number}" for number in range(24)]
    with ThreadPoolExecutor(len(names)) as pool:
        claimed = list(pool.map(lambda name: Ports(tmp_path / "p.json").claim(name), names))
    assert [Ports(tmp_path / "p.json").of(name) for name in names] == claimed


def test_asking_for_a_port_in_use_does_not_change_it(tmp_path: Path) -> None:
    known = Ports(tmp_path / "ports.json")
    port = known.claim("s3")
    with listen(port):
        assert known.of("s3") == port


def test_a_closing_connection_does_not_hold_a_port(tmp_path: Path) -> None:
    known = Ports(tmp_path / "ports.json")
    port = known.claim("s3")
    with listen(port) as server, socket.create_connection((LOOPBACK, port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first keeps the port in TIME_WAIT
        assert client.recv(1) == b""
    assert known.claim("s3") == port


def test_no_free_port_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = Ports(tmp_path / "other.json").claim("x")
    monkeypatch.setattr(ports, "PORT_RANGE", range(port, port + 1))
    with listen(port), pytest.raises(CommandFailed, match="no free port for s3"):
        Ports(tmp_path / "ports.json").claim("s3")
