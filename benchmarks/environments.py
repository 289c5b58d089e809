"""Virtual environments of the peers, made where one is missing or its requirements have changed."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent
PEERS = BENCHMARKS / "peers"
ENVIRONMENTS = BENCHMARKS / ".environments"
SAME_AS = {"original": "fastapi"}


def python_of(peer: str) -> Path:
    """The interpreter of the peer's environment. The packages are installed on the first call."""
    peer = SAME_AS.get(peer, peer)
    folder = ENVIRONMENTS / peer
    python, stamp = folder / "bin" / "python", folder / "requirements.sha256"
    files = [path for path in (PEERS / peer / "requirements.txt", PEERS / peer / "no-deps.txt") if path.is_file()]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing {peer} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for path in files:
            alone = ["--no-deps"] if path.name == "no-deps.txt" else []
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *alone, "-r", str(path)], check=True)
        stamp.write_text(wanted)
    return python


def versions(python: Path) -> dict[str, str]:
    """Versions of all packages that an interpreter can import, by name."""
    program = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    output = subprocess.run([str(python), "-c", program], check=True, capture_output=True, text=True).stdout
    return dict(sorted(json.loads(output).items()))
