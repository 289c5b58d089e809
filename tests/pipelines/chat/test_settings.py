import pytest

from pipelines.chat.settings import ProviderSettings


@pytest.mark.parametrize(
    "url", ["", "ftp://a/v1", "file:///etc", "https://user:pass@host/v1", "host/v1", "https://a/v1#b"]
)
def test_an_invalid_url_or_one_with_a_password_or_a_fragment_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        ProviderSettings(base_url=url, model="tiny")
