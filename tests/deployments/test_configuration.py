import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.serve.config import AutoscalingPolicy
from ray.serve.schema import ServeDeploySchema

from deployments.configuration import build_sample_store, configure
from deployments.settings import Settings
from deployments.valid_keys import KEY_VARIABLE
from pipelines.chat.sample import SAMPLE_STORE
from pipelines.chat.store.file import STORE, read_store
from pipelines.checkpoints.resolve import ROOT, OutputOptions
from pipelines.errors import CheckpointDamaged, CheckpointUnsupported, ConfigError
from pipelines.format.manifest import read_manifest
from tests.conftest import MakeCheckpoint
from tests.pipelines.chat.store.stores import make_store
from tests.pipelines.checkpoints.damage import copy, cut, edit_json
from tests.serve.server import write_config


@pytest.fixture
def config(tmp_path: Path, imported: MakeCheckpoint) -> Path:
    kinds = {"sts": "static", "cola": "classifier", "qa": "extractor"}
    return write_config(tmp_path, **{task: {"checkpoint": str(imported(kind))} for task, kind in kinds.items()})


def checkpoints(config: dict[str, object]) -> dict[str, str]:
    args = config["applications"][0]["args"]  # type: ignore[index]
    return {task: args[task]["checkpoint"] for task in ("sts", "cola", "qa")}


def test_a_named_checkpoint_replaces_the_configured_one(config: Path, imported: MakeCheckpoint) -> None:
    other = str(imported("cross-encoder"))
    before = checkpoints(configure(config, {}))
    assert checkpoints(configure(config, {"sts": other})) == before | {"sts": other}


@pytest.mark.parametrize("zipped", [False, True])
def test_a_checkpoint_in_another_format_is_imported(
    config: Path, checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path / "cache"))
    source = checkpoint("classifier")
    if zipped:
        source = Path(shutil.make_archive(str(tmp_path / "classifier"), "zip", source))
    assert checkpoints(configure(config, {"cola": str(source)}))["cola"] == str(source)
    assert len(list((tmp_path / "cache").glob("cola-*/manifest.json"))) == 1


def test_what_the_command_line_says_about_outputs_reaches_the_replicas(
    config: Path, checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path / "cache"))
    labelled = copy(checkpoint("classifier"), tmp_path / "labelled")
    edit_json(labelled / "config.json", id2label={"0": "POSITIVE", "1": "NEGATIVE"})
    with pytest.raises(CheckpointUnsupported, match="--positive-label"):
        configure(config, {"cola": str(labelled)})
    said = OutputOptions(positive_label="POSITIVE", scale=(-10, 10))
    written = configure(config, {"cola": str(labelled), "sts": str(checkpoint("cross-encoder"))}, None, said)
    settings = Settings.model_validate(written["applications"][0]["args"])
    assert (settings.cola.outputs, settings.sts.outputs) == (
        OutputOptions(positive_label="POSITIVE"),
        OutputOptions(scale=(-10, 10)),
    )


def test_what_the_file_says_about_outputs_does_not_count_for_another_checkpoint(
    config: Path, imported: MakeCheckpoint
) -> None:
    written = yaml.safe_load(config.read_text())
    written["applications"][0]["args"]["cola"]["positive_label"] = "0"
    config.write_text(yaml.safe_dump(written))
    with pytest.raises(CheckpointUnsupported, match="another positive output"):
        configure(config, {})
    args = configure(config, {"cola": str(imported("classifier"))})["applications"][0]["args"]
    assert Settings.model_validate(args).cola.positive_label is None


def test_traces_without_their_packages_stop_the_start(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = yaml.safe_load(config.read_text())
    written["applications"][0]["args"]["tracing"] = {"endpoint": "http://collector:4318"}
    config.write_text(yaml.safe_dump(written))
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError, match="tracing"):
        configure(config, {})


def test_jobs_in_redis_without_its_package_stop_the_start(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = yaml.safe_load(config.read_text())
    written["applications"][0]["args"]["jobs"] = {"database": "redis://redis:6379/0"}
    config.write_text(yaml.safe_dump(written))
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "deployments.jobs.redis_database", raising=False)
    with pytest.raises(ConfigError, match=r"munjang\[redis\]"):
        configure(config, {})


def test_a_relative_path_is_made_absolute_for_the_replicas(
    config: Path, imported: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = imported("cross-encoder")
    monkeypatch.chdir(other.parent)
    assert checkpoints(configure(config, {"sts": other.name}))["sts"] == str(other)


def test_the_shipped_configuration_listens_on_loopback() -> None:
    shipped = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    assert shipped["http_options"]["host"] == "127.0.0.1"


def test_an_application_scales_by_work_unless_its_file_names_another_policy(config: Path) -> None:
    assert configure(config, {})["applications"][0]["autoscaling_policy"] == {
        "policy_function": "deployments.autoscaling:ByWork"
    }
    written = yaml.safe_load(config.read_text())
    other = {"policy_function": "deployments.autoscaling:ByWork", "policy_kwargs": {"target_delay_s": 1.0}}
    written["applications"][0]["autoscaling_policy"] = other
    config.write_text(yaml.safe_dump(written))
    assert configure(config, {})["applications"][0]["autoscaling_policy"] == other


def test_serve_accepts_the_policy_of_the_shipped_configuration() -> None:
    shipped = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    application = ServeDeploySchema.model_validate(shipped).applications[0]
    assert AutoscalingPolicy(**application.autoscaling_policy).policy_function == "deployments.autoscaling:ByWork"


def test_a_public_host_is_refused_without_keys_and_taken_with_one(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert configure(config, {})["http_options"]["host"] == "127.0.0.1"
    with pytest.raises(ConfigError, match="0\\.0\\.0\\.0"):
        configure(config, {}, "0.0.0.0")
    monkeypatch.setenv(KEY_VARIABLE, "a-key-of-the-environment")
    assert configure(config, {}, "0.0.0.0")["http_options"]["host"] == "0.0.0.0"


def test_a_public_host_in_the_file_is_refused_without_keys(config: Path) -> None:
    written = yaml.safe_load(config.read_text())
    written["http_options"]["host"] = "0.0.0.0"
    config.write_text(yaml.safe_dump(written))
    with pytest.raises(ConfigError, match="allow_anonymous"):
        configure(config, {})
    written["applications"][0]["args"]["ingress"] = {"access": {"allow_anonymous": True}}
    config.write_text(yaml.safe_dump(written))
    assert configure(config, {})["http_options"]["host"] == "0.0.0.0"


def test_make_serve_takes_a_host_from_its_command_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(*words: str) -> str:
        command = ["make", "--dry-run", "serve", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout

    monkeypatch.setenv("HOST", "x86_64-conda-linux-gnu")
    assert "--host" not in shown()
    assert '--host "0.0.0.0"' in shown("HOST=0.0.0.0")


def test_make_serve_passes_its_variables_to_the_command() -> None:
    command = ["make", "--dry-run", "serve", "STS=../my model", "QA=owner/name@v1"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert '--sts "../my model"' in shown
    assert '--qa "owner/name@v1"' in shown
    assert not {"--cola", "--positive-label", "--scale"} & set(shown.split())


def test_make_serve_passes_what_is_said_about_outputs() -> None:
    command = ["make", "--dry-run", "serve", "COLA=a", "POSITIVE_LABEL=not bad", "SCALE=-10 10"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert '--positive-label "not bad" --scale -10 10' in shown


def test_a_model_for_another_task_is_refused(config: Path, imported: MakeCheckpoint) -> None:
    with pytest.raises(CheckpointUnsupported):
        configure(config, {"sts": str(imported("classifier"))})


def test_a_damaged_checkpoint_is_refused_before_anything_starts(tmp_path: Path, config: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointDamaged):
        configure(config, {"sts": str(folder)})


@pytest.mark.parametrize("args", ["args:", "args: {sts:, cola: }", "args: {}"])
def test_a_named_checkpoint_is_served_if_the_file_has_no_arguments(
    config: Path, imported: MakeCheckpoint, args: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.configuration.is_taken", lambda _port: False)  # 8000 may be, on this machine
    config.write_text(f"applications:\n- {{import_path: 'deployments.graph:build', {args}}}\nhttp_options:\n")
    named = {"sts": str(imported("static")), "cola": str(imported("classifier")), "qa": str(imported("extractor"))}
    made = configure(config, named)  # type: ignore[arg-type]
    assert checkpoints(made) == named
    assert made["http_options"] == {"host": "127.0.0.1", "port": 8000}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("proxy_location: HeadOnly\n", "no applications"),
        ("", "no applications"),
        ("applications: 3\n", "no applications"),
        ("applications: [3]\n", "no applications"),
        ("applications: [{import_path: 'a:b', args: [1]}]\n", "args is no mapping"),
        ("applications: [{import_path: 'a:b', args: {sts: x}}]\n", "sts is no mapping"),
        ("- applications\n", "no mapping"),
        ("{3: 4}\n", "no applications"),
        ("{3: 4, applications: [{import_path: 'a:b'}]}\n", "3: unknown key"),
        ("applications: [\n", "line 2"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(config: Path, content: str, why: str) -> None:
    config.write_text(content)
    with pytest.raises(ConfigError, match=why):
        configure(config, {"sts": "owner/name"})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        configure(tmp_path / "none.yaml", {})


def test_unknown_keys_are_refused_and_named(config: Path) -> None:
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(content | {"http_option": {}}))
    with pytest.raises(ConfigError, match="http_option"):
        configure(config, {})
    content["applications"][0]["args"]["sts"]["treshold"] = 1
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"sts\.treshold"):
        configure(config, {})


def sample(root: Path, checkpoint: Path) -> tuple[str, int]:
    """Build the sample store. Returns the digest of the checkpoint that embedded it, and the inode of its file."""
    build_sample_store({"sts": {"checkpoint": str(checkpoint)}, "chat": {"stores": str(root)}})
    file = root / SAMPLE_STORE / STORE
    return read_store(file)[0].checkpoint, file.stat().st_ino


def test_the_sample_store_is_built_if_missing_or_of_another_checkpoint(
    tmp_path: Path, imported: MakeCheckpoint
) -> None:
    first, second = imported("static"), imported("bi-encoder")
    built = sample(tmp_path, first)
    assert built[0] == read_manifest(first).digest
    assert sample(tmp_path, first) == built
    assert sample(tmp_path, second)[0] == read_manifest(second).digest


def test_a_store_of_other_documents_with_the_name_of_the_sample_is_kept(
    tmp_path: Path, imported: MakeCheckpoint
) -> None:
    checkpoint = imported("static")
    before = (make_store(tmp_path / SAMPLE_STORE, "운영자가 만든 것이다.") / STORE).read_bytes()
    sample(tmp_path, checkpoint)
    assert (tmp_path / SAMPLE_STORE / STORE).read_bytes() == before


def test_a_damaged_store_with_the_name_of_the_sample_is_kept(
    tmp_path: Path, imported: MakeCheckpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_store(tmp_path / SAMPLE_STORE, "운영자가 만든 것이다.") / STORE
    cut(file, 100)
    before = file.read_bytes()
    build_sample_store({"sts": {"checkpoint": str(imported("static"))}, "chat": {"stores": str(tmp_path)}})
    assert file.read_bytes() == before
    assert "can't be built" in capsys.readouterr().err


def test_without_the_shipped_checkpoint_only_the_sample_store_is_missing(
    tmp_path: Path, imported: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = imported("cross-encoder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.checkpoints.resolve.ROOT", tmp_path)
    build_sample_store({"sts": {"checkpoint": str(checkpoint)}, "chat": {"stores": str(tmp_path)}})
    assert "can't be built" in capsys.readouterr().err


def test_servers_of_tests_build_no_store_in_the_repository(tmp_path: Path) -> None:
    args = yaml.safe_load(write_config(tmp_path, chat={"passages": 3}).read_text())["applications"][0]["args"]
    assert args["chat"] == {"passages": 3, "stores": str(tmp_path / "stores")}
    assert stores_of(write_config(tmp_path, chat={"stores": "elsewhere"})) == "elsewhere"


def stores_of(config: Path) -> object:
    return yaml.safe_load(config.read_text())["applications"][0]["args"]["chat"]["stores"]


def test_with_a_cross_encoder_the_shipped_checkpoint_embeds_the_sample(
    tmp_path: Path, imported: MakeCheckpoint
) -> None:
    assert sample(tmp_path, imported("cross-encoder"))[0] == read_manifest(ROOT / "checkpoints" / "sts").digest


def test_a_failed_build_of_the_sample_store_is_only_reported(
    tmp_path: Path, imported: MakeCheckpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / SAMPLE_STORE).write_text("a file where its folder should be")
    build_sample_store({"sts": {"checkpoint": str(imported("static"))}, "chat": {"stores": str(tmp_path)}})
    assert "can't be built" in capsys.readouterr().err
