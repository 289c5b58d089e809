import pytest
import yaml
from pydantic import ValidationError

from deployments.settings import Settings
from pipelines.format.windows import WindowSettings
from tests.serve.server import ROOT


def test_the_shipped_configuration_is_valid() -> None:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    assert Settings.model_validate(config["applications"][0]["args"]) == Settings()


def test_the_defaults_are_those_of_the_original_services() -> None:
    windows = Settings().qa.windows.over(WindowSettings())
    assert (windows.max_seq_length, windows.max_query_length, windows.max_answer_length, windows.doc_stride) == (
        128,
        32,
        30,
        64,
    )


@pytest.mark.parametrize(
    "args",
    [
        {"sts": {"treshold": 0.5}},
        {"st": {}},
        {"qa": {"windows": {"max_seq_length": 15}}},
        {"qa": {"batch": {"max_tokens": 0}}},
        {"qa": {"batch": {"target_batch_s": 0}}},
        {"sts": {"cache_bytes": -1}},
        {"sts": {"engine": {"device": "tpu"}}},
        {"ingress": {"deadline_s": -1}},
        {"chat": {"provider": {"base_url": "http://127.0.0.1/v1"}}},
        {"chat": {"provider": {"base_url": "https://key@host/v1", "model": "m"}}},
        {"chat": {"provider": {"base_url": "http://127.0.0.1/v1", "model": "m", "api_key": "k"}}},
        {"chat": {"unknown": ""}},
    ],
)
def test_a_bad_or_unknown_setting_is_refused(args: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(args)


def test_the_timeout_of_a_provider_must_be_less_than_the_deadline_of_a_request() -> None:
    provider = {"base_url": "http://127.0.0.1/v1", "model": "m", "timeout_s": 3}
    args = {"chat": {"provider": provider}, "ingress": {"deadline_s": 3.1}}
    assert Settings.model_validate(args).ingress.deadline_s == 3.1
    with pytest.raises(ValidationError, match="timeout_s must be less"):
        Settings.model_validate(args | {"ingress": {"deadline_s": 3}})


def test_one_setting_leaves_the_others_at_their_defaults() -> None:
    chat = Settings.model_validate({"chat": {"group_commit": {"max_calls": 3}}}).chat
    assert chat.group_commit.model_dump() == Settings().chat.group_commit.model_dump() | {"max_calls": 3}


def test_settings_do_not_change_after_the_start() -> None:
    with pytest.raises(ValidationError):
        Settings().sts.threshold = 0.1  # type: ignore[misc]
