"""The servers that are compared, Munjang's variants and its peers, and the commands that start them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks import models
from benchmarks.clients import (
    BentoMlClient,
    Client,
    FastApiClient,
    InfinityClient,
    LitServeClient,
    MosecClient,
    MunjangClient,
)
from benchmarks.environments import PEERS, python_of
from benchmarks.processes import Command

ROOT = models.ROOT
SETTINGS = ((1, 2), (2, 1))
"""(workers, threads of each). Every peer is measured with both settings, and the better one counts."""


@dataclass(frozen=True)
class Peer:
    """A server of another project.

    setting     (workers, threads of each)
    variant     name of further settings, which `options` holds
    models      models that it can load
    folder      its folder in `peers`, where it is not `name`
    environment its folder in `peers` with the packages that it needs, where it is not `folder`
    options     environment variables that its server.py reads
    file_pairs  most pairs of a file
    spread      whether each worker is a server on a port of its own, which the client asks in turn: if workers share
                one port, one of them may get most of the connections made at once
    """

    name: str
    client: type[Client]
    setting: tuple[int, int]
    variant: str = ""
    precision: str = "fp32"
    models: tuple[str, ...] = models.NAMES
    folder: str = ""
    environment: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    file_pairs: int = 1000
    spread: bool = False

    @property
    def label(self) -> str:
        """Name and setting, as in `fastapi/1x2`."""
        return f"{self.name}/{self.setting[0]}x{self.setting[1]}{self.variant and '-'}{self.variant}"

    def prepare(self) -> Path:
        """The interpreter of its environment, which is installed where it is missing."""
        return python_of(self.environment or self.folder or self.name)

    def commands(self, model: str, data: Path, port: int, scratch: Path) -> list[Command]:  # noqa: ARG002
        """One command, or one for each worker."""
        workers, threads = self.setting
        ports, workers = (range(port, port + workers), 1) if self.spread else ([port], workers)
        return [self._command(models.folder_of(model, data), one, workers, threads) for one in ports]

    def _command(self, model: Path, port: int, workers: int, threads: int) -> Command:
        arguments = [str(self.prepare()), "server.py", str(model), *map(str, (port, workers, threads))]
        own = {"PYTHONPATH": str(PEERS), "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        return Command(arguments, PEERS / (self.folder or self.name), own | {"HF_HUB_OFFLINE": "1"} | self.options)


@dataclass(frozen=True)
class Munjang:
    """This project, with `engine` as the engine settings of sentence similarity."""

    variant: str
    engine: Mapping[str, Any]
    precision: str = "fp32"
    models: tuple[str, ...] = models.NAMES
    name = "munjang"
    client = MunjangClient
    file_pairs = 1000

    @property
    def label(self) -> str:
        """Name and variant, as in `munjang/fp32`."""
        return f"munjang/{self.variant}"

    def checkpoint(self, model: str, data: Path) -> Path:
        """The model in the project's format."""
        return models.imported(model, data)

    def prepare(self) -> Path:
        """The current interpreter, which has the project's packages."""
        return Path(sys.executable)

    def commands(self, model: str, data: Path, port: int, scratch: Path) -> list[Command]:
        """Start as `make serve STS=...` does, but on loopback and with stores in `scratch`."""
        config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
        config["http_options"] |= {"host": "127.0.0.1", "port": port}
        application = config["applications"][0]
        own = {"sts": {"engine": self.engine, "cache_bytes": 0}, "chat": {"stores": str(scratch / "stores")}}
        application["args"] = merged(application["args"], own)
        path = scratch / "serve_config.yaml"
        path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        arguments = [sys.executable, "-m", "deployments", "serve", str(path)]
        return [Command([*arguments, "--sts", str(self.checkpoint(model, data))], ROOT, OWN_CLUSTER)]


Server = Peer | Munjang


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """`one` updated with the values of `other`; nested mappings are merged in the same way."""
    both = dict(one)
    for key, value in other.items():
        both[key] = merged(both.get(key) or {}, value) if isinstance(value, Mapping) else value
    return both


OWN_CLUSTER = {"RAY_ADDRESS": "local"}
"""Environment variables for Munjang: it starts its own Ray cluster and does not join one that already runs."""

TRANSFORMERS = ("small", "base")
VARIANTS = [
    Munjang("int8", {"dtype": "int8"}, precision="int8"),
    Munjang("fp32", {"dtype": "float32"}),
    Munjang("fp32-torch", {"dtype": "float32", "backend": "torch", "threads": 2}, models=TRANSFORMERS),
]
"""All run without a cache, since no text is sent twice. The last one has the same engine as most peers."""

INFINITY = {"": {}, "bettertransformer": {"INFINITY_BETTERTRANSFORMER": "1", "INFINITY_BATCH_SIZE": "64"}}
"""The faster one depends on the model: BetterTransformer needs no padding, but costs time for each sentence."""
BACKENDS = {"onnx": "int8", "openvino": "fp32"}
"""Of sentence-transformers, with their precisions."""
SERVERS: list[Server] = [
    *VARIANTS,
    *(Peer("fastapi", FastApiClient, setting, spread=True) for setting in SETTINGS),
    *(
        Peer(
            f"fastapi-{backend}",
            FastApiClient,
            setting,
            precision=precision,
            folder="fastapi",
            environment="backends",
            options={"BACKEND": backend},
            spread=True,
        )
        for backend, precision in BACKENDS.items()
        for setting in SETTINGS
    ),
    *(Peer("litserve", LitServeClient, setting) for setting in SETTINGS),
    *(Peer("bentoml", BentoMlClient, setting, spread=True) for setting in SETTINGS),
    *(Peer("mosec", MosecClient, setting) for setting in SETTINGS),
    *(
        Peer("infinity", InfinityClient, setting, variant, options=options, spread=True)
        for variant, options in INFINITY.items()
        for setting in SETTINGS
    ),
    *(
        Peer(
            "infinity-int8",
            InfinityClient,
            setting,
            precision="int8",
            folder="infinity",
            options={"INFINITY_DTYPE": "int8"},
            spread=True,
        )
        for setting in SETTINGS
    ),
    Peer("original", FastApiClient, (1, 2), file_pairs=50),
]


def chosen(names: list[str]) -> list[Server]:
    """The servers with these names or labels: `munjang`, `munjang/int8`, `fastapi/2x1`. Raises ValueError."""
    known = {server.name for server in SERVERS} | {server.label for server in SERVERS}
    if unknown := set(names) - known:
        raise ValueError(f"unknown servers: {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    return [server for server in SERVERS if server.name in names or server.label in names]
