"""A disk that is full: what needs it answers with an error that says so, and the rest of the graph is not harmed."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.faults.conftest import Report
from tests.faults.open_loop import all_good, figures, open_loop
from tests.serve.server import Server, environment, running

pytestmark = pytest.mark.faults

DISK_BYTES = 4 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount file systems")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def server(config: Path, small_disk: Path, tmp_path: Path) -> Iterator[Server]:
    """A server whose files and jobs are on the small disk."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    content["applications"][0]["args"]["jobs"] = {"folder": str(small_disk / "jobs")}
    content["applications"][0]["deployments"] = []
    path = tmp_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(path, environment()) as server:
        yield server


def upload(server: Server, content: bytes) -> httpx2.Response:
    files = {"file": ("batch.jsonl", content)}
    return httpx2.post(f"{server.url}/v1/files", files=files, data={"purpose": "batch"}, timeout=60)


def test_a_full_disk_refuses_uploads_and_harms_no_other_request(
    server: Server, small_disk: Path, report: Report
) -> None:
    with open_loop(server.url) as load:
        load.wait_for(20)
        refused = upload(server, b"x" * (2 * DISK_BYTES))
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(2 * DISK_BYTES))
        also_refused = upload(server, b"{}")
        filler.unlink()
        accepted = upload(server, b"{}")
        load.wait_for(20)
    report(**figures(load.outcomes), uploads=[refused.status_code, also_refused.status_code, accepted.status_code])
    assert [refused.status_code, also_refused.status_code] == [507, 507]
    assert accepted.status_code == 200
    assert all_good(load.outcomes)
