import asyncio
import errno
import gc
import pickle
import weakref
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.chat.store.file import STORE
from pipelines.chat.store.store import Store
from pipelines.chat.store.stores import Stores, stores_root
from pipelines.checkpoints.resolve import ROOT
from pipelines.errors import StoreCorrupt, StoreNotFound
from tests.pipelines.chat.store.stores import make_store
from tests.pipelines.checkpoints.damage import Planted, cut

pytestmark = pytest.mark.anyio

MAX_BYTES = 2**20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the store `notes`. The store `secret` is beside the root, where no client may read."""
    make_store(tmp_path / "secret", "비밀이다.")
    make_store(tmp_path / "root" / "notes", "고양이는 잔다.")
    return tmp_path / "root"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stores that were read."""
    names: list[str] = []
    real = Store.open

    async def recording(folder: Path) -> Store:
        names.append(folder.name)
        return await real(folder)

    monkeypatch.setattr(Store, "open", recording)
    return names


async def texts(store: Store) -> list[str]:
    return [passage.text for passage in await store.matching("고양이 비밀 강아지", 9)]


@pytest.mark.parametrize("db_path", ["notes", "notes/"])
async def test_a_store_is_found_by_its_name(root: Path, db_path: str) -> None:
    assert await texts(await Stores(root, 2, MAX_BYTES).get(db_path)) == ["고양이는 잔다."]


@pytest.mark.parametrize("name", ["모하늘", "a.b-c_1", "a" * 255])
async def test_names_may_be_in_any_script(root: Path, name: str) -> None:
    make_store(root / name, "고양이는 잔다.")
    assert (await Stores(root, 2, MAX_BYTES).get(name)).name == name


@pytest.mark.parametrize(
    "db_path",
    [
        *("missing", "missing/", "", " ", ".", "./", "..", "/", "//"),
        *("../secret", "../secret/", "notes/../../secret", "notes/..", "./notes", "notes//", "notes/.", "notes\n"),
        *("%2e%2e%2fsecret", "..%2fsecret", "%2e%2e/secret", "..%5csecret", "notes%00"),
        *("..\\secret", "notes\\", "\\notes", "notes\0", "notes\0/../secret", "\0"),
        *("file://notes", "file:///etc", "~/notes", "$HOME", "C:\\notes", "//server/notes", "s3://bucket/notes"),
        *(f"notes/{STORE}", "notes/.unfinished", ".notes", "．．/secret", "a" * 256, "가" * 86, "a" * 1_000_000),
        *("\ud800", "notes\u202e", "notes\u200b"),
    ],
)
async def test_every_other_path_gets_the_same_error(root: Path, db_path: str) -> None:
    with pytest.raises(StoreNotFound) as caught:
        await Stores(root, 2, MAX_BYTES).get(db_path)
    assert caught.value.args == ()


async def test_an_absolute_path_is_refused(root: Path) -> None:
    with pytest.raises(StoreNotFound):
        await Stores(root, 2, MAX_BYTES).get(str(root / "notes"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    db_path=st.one_of(
        st.text(),
        st.lists(st.sampled_from(["..", ".", "/", "notes", "secret", "root", "\\", "%2e", "\0"])).map("".join),
    )
)
def test_no_path_leads_out_of_the_root(root: Path, db_path: str) -> None:
    try:
        store = asyncio.run(Stores(root, 2, MAX_BYTES).get(db_path))
    except StoreNotFound:
        assert db_path not in {"notes", "notes/"}
    else:
        assert (db_path.removesuffix("/"), store.name) == ("notes", "notes")


async def test_links_out_of_the_root_are_not_followed(root: Path) -> None:
    (root / "folder").symlink_to(root.parent / "secret")
    (root / "file").mkdir()
    (root / "file" / STORE).symlink_to(root.parent / "secret" / STORE)
    (root / "up").symlink_to("..")
    (root / "circle").symlink_to("circle")
    (root / "self").symlink_to(".")
    for name in ("folder", "file", "up", "circle", "self"):
        with pytest.raises(StoreNotFound):
            await Stores(root, 2, MAX_BYTES).get(name)


async def test_a_link_within_the_root_and_to_the_root_is_followed(root: Path) -> None:
    (root / "alias").symlink_to("notes")
    (root.parent / "link").symlink_to("root")
    assert (await Stores(root.parent / "link", 2, MAX_BYTES).get("alias")).name == "notes"


async def test_without_a_root_there_are_no_stores(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        await Stores(tmp_path / "missing", 2, MAX_BYTES).get("notes")


async def test_a_planted_pickle_is_never_opened(root: Path, tmp_path: Path) -> None:
    mark = tmp_path / "the planted code ran"
    for name in ("planted", "notes"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "index.pkl").write_bytes(pickle.dumps(Planted(mark)))
        (root / name / "index.faiss").write_bytes(b"IxF2")
    with pytest.raises(StoreNotFound):
        await Stores(root, 2, MAX_BYTES).get("planted")
    assert await texts(await Stores(root, 2, MAX_BYTES).get("notes")) == ["고양이는 잔다."]
    assert not mark.exists()


async def test_a_store_stays_open(root: Path, opened: list[str]) -> None:
    stores = Stores(root, 2, MAX_BYTES)
    first, second = await asyncio.gather(stores.get("notes"), stores.get("notes/"))
    assert first is second is await stores.get("notes")
    assert opened == ["notes"]


async def test_the_last_requested_stores_stay_open(root: Path, opened: list[str]) -> None:
    for name in ("b", "c"):
        make_store(root / name, "고양이는 잔다.")
    stores = Stores(root, 2, MAX_BYTES)
    for name in ("notes", "b", "notes", "c", "notes", "b"):
        await stores.get(name)
    assert opened == ["notes", "b", "c", "b"]


async def test_stores_over_the_limit_of_bytes_do_not_stay_open(root: Path, opened: list[str]) -> None:
    for name in ("b", "c"):
        make_store(root / name, "고양이는 잔다.")
    size = (root / "notes" / STORE).stat().st_size
    stores = Stores(root, 8, 2 * size)
    for name in ("notes", "b", "notes", "c", "notes", "b"):
        await stores.get(name)
    assert opened == ["notes", "b", "c", "b"]


async def test_a_single_store_over_the_limit_is_open_alone(root: Path, opened: list[str]) -> None:
    stores = Stores(root, 8, 1)
    assert await stores.get("notes") is await stores.get("notes")
    assert opened == ["notes"]


async def test_stores_requested_at_once_are_opened_one_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["notes", "b", "c"]
    for name in names[1:]:
        make_store(root / name, "고양이는 잔다.")
    real, open_now = Store.open, []

    async def alone(folder: Path) -> Store:
        open_now.append(folder.name)
        store = await real(folder)
        assert open_now == [folder.name]
        open_now.clear()
        return store

    monkeypatch.setattr(Store, "open", alone)
    stores = Stores(root, 8, MAX_BYTES)
    assert [store.name for store in await asyncio.gather(*map(stores.get, names))] == names


async def test_a_corrupt_store_does_not_keep_the_request_in_memory(root: Path) -> None:
    class Request:
        """Stands for a request that holds a key."""

    async def ask(request: Request) -> None:
        with pytest.raises(StoreCorrupt):
            await stores.get("notes")

    cut(root / "notes" / STORE, 100)
    stores = Stores(root, 2, MAX_BYTES)
    request = Request()
    last = weakref.ref(request)
    await ask(request)
    del request
    gc.collect()
    assert last() is None


async def test_a_rebuilt_store_is_opened_again(root: Path) -> None:
    stores = Stores(root, 2, MAX_BYTES)
    old = await stores.get("notes")
    make_store(root / "notes", "강아지가 뛴다.")
    assert await texts(await stores.get("notes")) == ["강아지가 뛴다."]
    assert await texts(old) == ["고양이는 잔다."]


async def test_a_removed_store_is_not_found(root: Path) -> None:
    stores = Stores(root, 2, MAX_BYTES)
    await stores.get("notes")
    (root / "notes" / STORE).unlink()
    with pytest.raises(StoreNotFound):
        await stores.get("notes")


async def test_a_corrupt_store_is_read_once_and_works_after_a_rebuild(root: Path, opened: list[str]) -> None:
    cut(root / "notes" / STORE, 100)
    stores = Stores(root, 2, MAX_BYTES)
    for _ in range(3):
        with pytest.raises(StoreCorrupt) as caught:
            await stores.get("notes")
        assert str(root) not in str(caught.value)
    assert opened == ["notes"]
    make_store(root / "notes", "강아지가 뛴다.")
    assert await texts(await stores.get("notes")) == ["강아지가 뛴다."]


async def test_a_file_cut_while_its_store_is_open_is_corrupt_and_kills_no_process(root: Path) -> None:
    stores = Stores(root, 2, MAX_BYTES)
    store = await stores.get("notes")
    cut(root / "notes" / STORE, 0)
    assert await texts(store) == ["고양이는 잔다."]
    with pytest.raises(StoreCorrupt):
        await stores.get("notes")


async def test_a_cancelled_request_does_not_stop_the_opening_for_others(root: Path) -> None:
    stores = Stores(root, 2, MAX_BYTES)
    leaving = asyncio.create_task(stores.get("notes"))
    staying = asyncio.create_task(stores.get("notes"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).name == "notes"


async def test_a_store_that_can_not_be_read_temporarily_is_read_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = Stores(root, 2, MAX_BYTES)
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.chat.store.store.read_store", _too_many_files)
        with pytest.raises(StoreCorrupt, match="notes: Too many open files"):
            await stores.get("notes")
    assert await texts(await stores.get("notes")) == ["고양이는 잔다."]


def _too_many_files(_: Path) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_relative_setting_starts_at_the_root_of_the_repository(tmp_path: Path) -> None:
    assert stores_root("stores") == ROOT / "stores"
    assert stores_root(str(tmp_path)) == tmp_path
