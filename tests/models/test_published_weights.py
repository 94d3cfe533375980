"""`model.pretrained=true` against caches laid out as the libraries do it, and against a server on this machine."""

import errno
import hashlib
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from helpers.shipped_models import SHIPPED, shipped
from helpers.weight_caches import as_pth, as_safetensors, put_in_hub_cache, put_in_torch_cache
from helpers.weights_server import Answer, WeightsServer, weights_server
from safetensors.torch import save
from timm.layers import resample_abs_pos_embed
from torch import nn

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError
from gender_cls.models import published_files, published_weights
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.models.published_files import HubFile, WebFile, published_file
from gender_cls.models.published_weights import fetch_weights
from gender_cls.system import progress

TINY = ModelConfig(Library.timm, "test_resnet")
REPOSITORY = "timm/test_resnet.r160_in1k"
WAYS_OUT = r": name a local file with model\.weights=PATH, or start from random weights with model\.pretrained=false\.$"
CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with empty caches: `hub` and `torch`."""
    at(CLOSED_PORT, monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path


def at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub be there; as HF_ENDPOINT does for a process that imports the hub's client after it is set."""
    hub = huggingface_hub.constants
    monkeypatch.setattr(hub, "ENDPOINT", url)
    for module in (hub, huggingface_hub.file_download):  # the latter has its own name for it before 1.0
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


@pytest.fixture
def server(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsServer]:
    with weights_server() as running:
        at(running.url, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, "AGENT_HARNESSES_PATH", str(caches / "agents"), raising=False)
        yield running


@pytest.fixture
def tiny() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=1000)


def pretrained(model: ModelConfig, size: tuple[int, int] = (64, 32)) -> Backbone:
    return build_backbone(model, size)


def assert_loaded(backbone: Backbone, source: nn.Module) -> None:
    """Every tensor is that of the file, but the two new outputs, which are near zero."""
    wanted, loaded = source.state_dict(), backbone.network.state_dict()
    assert wanted.keys() == loaded.keys()
    differing = {key for key in wanted if not torch.equal(wanted[key], loaded[key])}
    assert differing == {f"{backbone.heads[0]}.{name}" for name in ("weight", "bias")}
    for key in differing:
        assert loaded[key].shape[0] == 2
        assert loaded[key].abs().max() < 0.05


def offer_web(server: WeightsServer, monkeypatch: pytest.MonkeyPatch, content: bytes, digest: str = "") -> Answer:
    """Let torchvision's ShuffleNet be there, with the beginning of its hash in its name, as torchvision does it."""
    path = f"/models/shufflenet-{digest or hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights: Any = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT
    monkeypatch.setattr(weights.value, "url", server.url + path)
    server.answers[path] = Answer(content)
    return server.answers[path]


SHUFFLENET = ModelConfig(Library.torchvision, "shufflenet_v2_x0_5")


@pytest.fixture(scope="module")
def shufflenet() -> nn.Module:
    return torchvision.models.shufflenet_v2_x0_5()


def test_weights_are_downloaded_once_from_the_hub_and_then_need_no_network(
    server: WeightsServer, tiny: nn.Module, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.offer(REPOSITORY, "model.safetensors", as_safetensors(tiny))
    assert_loaded(pretrained(TINY), tiny)
    assert server.got == [f"/{REPOSITORY}/resolve/main/model.safetensors"]
    server.asked.clear()
    assert_loaded(pretrained(TINY), tiny)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert_loaded(pretrained(TINY), tiny)
    assert server.asked == []
    assert not [*caches.rglob("*.incomplete")]


def test_the_older_file_of_a_repository_is_taken_where_it_has_no_other(server: WeightsServer, tiny: nn.Module) -> None:
    server.offer(REPOSITORY, "pytorch_model.bin", as_pth(tiny))
    assert_loaded(pretrained(TINY), tiny)


def test_a_connection_that_breaks_goes_on_where_it_stopped(
    server: WeightsServer, tiny: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr(huggingface_hub.file_download, "time", SimpleNamespace(sleep=lambda _: None))
    server.offer(REPOSITORY, "model.safetensors", as_safetensors(tiny), cut_after=100_000)
    assert_loaded(pretrained(TINY), tiny)
    assert server.asked[-1].endswith("bytes=100000-")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=401), "the server answers 401"),
        (Answer(status=401, headers={"X-Error-Code": "RepoNotFound"}), "no such repository, .* HF_TOKEN"),
        (Answer(status=403, headers={"X-Error-Code": "GatedRepo"}), "terms must be accepted .* HF_TOKEN"),
        (Answer(status=404, headers={"X-Error-Code": "EntryNotFound"}), "no model.safetensors or pytorch_model.bin"),
        (Answer(status=500), "the server answers 500"),
        (Answer(b"<html>", headers={"X-Repo-Commit": "", "ETag": ""}), "login page of a proxy"),
        (Answer(b"<!doctype html>"), "web page"),
        (Answer(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n"), "Git LFS"),
        (Answer(b"neither this nor that"), "no header of tensors"),
        (Answer(b""), "it is empty"),
        (Answer(save({"a": torch.ones(9)})[:-7]), r"it has \d+ of \d+ bytes"),
        (Answer(seconds=0.5), "timed out"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_answer_of_the_hub_ends_in_one_sentence_and_leaves_no_file(
    server: WeightsServer, caches: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    monkeypatch.setattr(published_files, "TIMEOUT", 0.2)
    server.answers[f"/{REPOSITORY}/resolve/main/model.safetensors"] = answer
    with pytest.raises(
        GenderClsError, match=rf"timm/test_resnet .*{server.url}/{REPOSITORY} \(.*{words}.*\){WAYS_OUT}"
    ):
        fetch_weights([TINY])
    assert not [file for file in (caches / "hub").rglob("*") if file.is_file() and file.stat().st_size > 200]
    assert fetch_again(server, caches), "nothing of the failure is left"


def fetch_again(server: WeightsServer, caches: Path) -> bool:
    server.offer(REPOSITORY, "model.safetensors", save({"a": torch.ones(9)}))
    return fetch_weights([TINY])["timm/test_resnet"].is_file()


def test_an_unreachable_hub_is_reported_within_seconds(caches: Path) -> None:
    start = time.monotonic()
    with pytest.raises(GenderClsError, match=rf"timm/test_resnet .*{CLOSED_PORT}/{REPOSITORY} \(.*refused\){WAYS_OUT}"):
        pretrained(TINY)
    assert time.monotonic() - start < 3


def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.example:3128")
    place, refused = WebFile("https://models.example/a.pth", "a.pth"), ConnectionError(111, "Connection refused")
    assert published_files.reason_of(refused, place) == "Connection refused through the proxy proxy.example:3128"
    monkeypatch.setenv("no_proxy", "models.example")
    assert published_files.reason_of(refused, place) == "Connection refused"


def test_the_offline_switch_and_the_cache_are_named(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(GenderClsError, match=rf"timm/test_resnet .*HF_HUB_OFFLINE .*{caches}/hub\){WAYS_OUT}"):
        pretrained(TINY)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"<html>", "web page"), (b"version https://git-lfs", "Git LFS"), (None, "bytes")],
)
def test_a_damaged_file_in_the_cache_is_named_with_what_to_do(
    server: WeightsServer, caches: Path, tiny: nn.Module, content: bytes | None, words: str
) -> None:
    whole = as_safetensors(tiny)
    blob = put_in_hub_cache(caches / "hub", REPOSITORY, whole[:-100] if content is None else content)
    server.offer(REPOSITORY, "model.safetensors", whole)
    with pytest.raises(GenderClsError, match=rf"timm/test_resnet .*{blob} \(.*{words}.*once.*removed\){WAYS_OUT}"):
        pretrained(TINY)
    assert server.asked == []
    blob.unlink()
    assert_loaded(pretrained(TINY), tiny)


def test_a_file_that_lacks_tensors_is_refused_though_timm_would_only_log_it(caches: Path, tiny: nn.Module) -> None:
    state = tiny.state_dict()
    del state["layer1.0.conv1.weight"], state["bn1.num_batches_tracked"]
    put_in_hub_cache(caches / "hub", REPOSITORY, save(state))
    with pytest.raises(GenderClsError, match=r"timm/test_resnet .*\(it lacks 1 tensor: layer1\.0\.conv1\.weight\)"):
        pretrained(TINY)


def test_a_file_of_another_model_is_refused(caches: Path) -> None:
    put_in_hub_cache(caches / "hub", REPOSITORY, as_safetensors(timm.create_model("test_vit")))
    with pytest.raises(GenderClsError, match=rf"timm/test_resnet .*\(it lacks \d+ tensors: .*{WAYS_OUT}"):
        pretrained(TINY)


def test_position_embeddings_in_the_cache_are_resampled_as_timm_does(caches: Path) -> None:
    source = timm.create_model("test_vit", num_classes=1000)
    put_in_hub_cache(caches / "hub", "timm/test_vit.r160_in1k", as_safetensors(source))
    network: Any = pretrained(ModelConfig(Library.timm, "test_vit"), (256, 128)).network
    torch.testing.assert_close(network.pos_embed, resample_abs_pos_embed(source.pos_embed, [16, 8]))
    assert torch.equal(network.blocks[2].attn.qkv.weight, source.blocks[2].attn.qkv.weight)


def test_all_that_is_missing_is_named_and_nothing_is_downloaded(
    server: WeightsServer, caches: Path, tiny: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.offer(REPOSITORY, "model.safetensors", as_safetensors(tiny))
    offer_web(server, monkeypatch, b"").status = 503
    models = [TINY, ModelConfig(Library.timm, "test_vit"), SHUFFLENET]
    with pytest.raises(
        GenderClsError, match=r"of 2 models .*timm/test_vit .*no model\.safetensors.* torchvision/shufflenet.*503"
    ) as caught:
        fetch_weights(models)
    assert "model.weights=FOLDER" in str(caught.value)
    assert "model.pretrained=false" in str(caught.value)
    assert not [path for path in server.got if path.startswith("/timm")]


def test_a_server_that_does_not_answer_is_asked_once(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Mock(side_effect=TimeoutError("timed out"))
    monkeypatch.setattr(HubFile, "ask", asked)
    with pytest.raises(GenderClsError, match=r"of 3 models .*timed out.*timed out.*timed out"):
        fetch_weights([ModelConfig(Library.timm, name) for name in ("test_resnet", "test_vit", "test_efficientnet")])
    assert asked.call_count == 1


def test_of_two_that_download_at_once_one_waits_for_the_other(server: WeightsServer, tiny: nn.Module) -> None:
    server.offer(REPOSITORY, "model.safetensors", as_safetensors(tiny), pause=0.2)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(published_file(TINY).download, 2 * ["model.safetensors"])
    assert first == second
    assert len(server.got) == 1
    assert_loaded(pretrained(TINY), tiny)


def test_room_for_all_files_is_looked_for_first(
    server: WeightsServer, tiny: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.offer(REPOSITORY, "model.safetensors", as_safetensors(tiny))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(GenderClsError, match=rf"has room for 1 MB, and .* need 2 MB; HF_HOME .*\){WAYS_OUT}"):
        fetch_weights([TINY])
    assert server.got == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "has no room"), (errno.EACCES, "cannot be used"), (errno.EROFS, "cannot be")]
)
def test_a_cache_that_cannot_be_written_is_named(
    server: WeightsServer, tiny: nn.Module, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    server.offer(REPOSITORY, "model.safetensors", as_safetensors(tiny))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", Mock(side_effect=OSError(number, "why", "/cache/file")))
    with pytest.raises(
        GenderClsError, match=rf"/hub/models--timm--test_resnet.* {words}.*; HF_HOME chooses.*{WAYS_OUT}"
    ):
        fetch_weights([TINY])


def test_torchvision_weights_are_downloaded_once_with_their_size_on_the_way(
    server: WeightsServer,
    shufflenet: nn.Module,
    caches: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.05)
    monkeypatch.setattr(published_weights, "LOOK", 0.05)
    content = as_pth(shufflenet)
    offer_web(server, monkeypatch, content).pause = 0.3
    caplog.set_level(logging.INFO)
    work = partial(progress.Work, first_line=0.9)
    with monkeypatch.context() as patches:
        patches.setattr(progress, "Work", work)
        assert_loaded(pretrained(SHUFFLENET), shufflenet)
    total = -(-len(content) // 1_000_000)
    shown = [
        record.getMessage() for record in caplog.records if "Downloading torchvision/shuffle" in record.getMessage()
    ]
    assert any(f" {part} of {total} MB ..." in line for line in shown for part in range(1, total)), shown
    server.asked.clear()
    assert_loaded(pretrained(SHUFFLENET), shufflenet)
    assert server.asked == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": 404}, "the server answers 404"),
        ({"status": 503}, "the server answers 503"),
        ({"headers": {"Content-Type": "text/html"}}, "web page"),
        ({"cut_after": 100_000}, "bytes|hash"),
        ({"seconds": 0.5}, "timed out"),
        ({"pause": 0.5}, "timed out"),  # after the first MB
    ],
)
def test_a_wrong_answer_for_torchvision_ends_in_one_sentence(
    server: WeightsServer,
    shufflenet: nn.Module,
    caches: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setattr(published_files, "TIMEOUT", 0.2)
    monkeypatch.setattr(published_files, "STALLED", 0.2)
    answer = offer_web(server, monkeypatch, as_pth(shufflenet))
    for name, value in change.items():
        setattr(answer, name, value)
    if "cut_after" in change:
        monkeypatch.setattr(WebFile, "ask", lambda place: (place.name, None))  # asking would use up the cut
    with pytest.raises(GenderClsError, match=rf"torchvision/shufflenet_v2_x0_5 .*{server.url}.*({words}).*{WAYS_OUT}"):
        fetch_weights([SHUFFLENET])
    assert not [file for file in caches.rglob("*") if file.is_file() and "shuffle" in file.name]


def test_a_download_with_another_hash_than_its_name_is_refused(
    server: WeightsServer, shufflenet: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_web(server, monkeypatch, as_pth(shufflenet), digest="00000000")
    with pytest.raises(GenderClsError, match=rf"torchvision/shufflenet_v2_x0_5 .*hash.*00000000.*{WAYS_OUT}"):
        fetch_weights([SHUFFLENET])


@pytest.mark.parametrize("old_format", [False, True])
def test_a_torchvision_file_in_the_cache_is_taken_whatever_its_hash_and_refused_if_its_end_is_missing(
    caches: Path, shufflenet: nn.Module, old_format: bool
) -> None:
    content = as_pth(shufflenet, old_format=old_format)
    address = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    file = put_in_torch_cache(caches / "torch", address, content)
    assert_loaded(pretrained(SHUFFLENET), shufflenet)
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(GenderClsError, match=rf"torchvision/shufflenet.* {file} \(.*removed\){WAYS_OUT}"):
        pretrained(SHUFFLENET)


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv2_tv"])
def test_the_smallest_shipped_models_load_what_their_library_publishes(caches: Path, name: str) -> None:
    model = shipped(name)
    if model.library is Library.timm:
        source = timm.create_model(str(model.name), num_classes=1000)
        put_in_hub_cache(caches / "hub", "timm/mobilenetv2_100.ra_in1k", as_safetensors(source))
    else:
        source = torchvision.models.get_model(model.name)
        address = "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth"
        put_in_torch_cache(caches / "torch", address, as_pth(source))
    assert_loaded(pretrained(model), source)


NARROW = {"depths": [1, 1, 1, 1], "dims": [8, 16, 32, 64]}


@pytest.mark.parametrize(
    ("name", "options", "resampled"),
    [
        ("convnext_xlarge", NARROW, set()),
        ("convnext_tiny", NARROW, set()),
        ("resnet152", {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}, set()),
        ("mobilenetv4_small", {}, set()),
        ("vit_small_dinov2", {"depth": 1, "embed_dim": 32, "num_heads": 2}, {"pos_embed", "patch_embed.proj.weight"}),
    ],
)
def test_shipped_models_of_timm_load_the_file_of_their_tag(
    caches: Path, name: str, options: dict[str, Any], resampled: set[str]
) -> None:
    model = shipped(name)
    classes = 0 if name == "vit_small_dinov2" else 1000  # what is published has no head
    source = timm.create_model(str(model.name), num_classes=classes, **options)
    place = published_file(model)
    assert isinstance(place, HubFile)
    put_in_hub_cache(caches / "hub", place.repository, as_safetensors(source))
    model.options |= options
    backbone = pretrained(model)
    wanted, loaded = source.state_dict(), backbone.network.state_dict()
    differing = {key for key in loaded if key not in wanted or not torch.equal(wanted[key], loaded[key])}
    assert differing == {f"{backbone.heads[0]}.{kind}" for kind in ("weight", "bias")} | resampled
    assert backbone.network.get_submodule(backbone.heads[0]).weight.shape[0] == 2


@pytest.mark.parametrize("name", [name for name in SHIPPED if shipped(name).downloads])
def test_every_shipped_model_has_published_weights(name: str) -> None:
    model = shipped(name)
    place = published_file(model)
    if model.library is Library.torchvision:
        assert isinstance(place, WebFile)
        assert place.address == f"https://download.pytorch.org/models/{place.name}"
    else:
        assert isinstance(place, HubFile)
        assert place.repository.startswith(f"timm/{model.name}")
        assert place.names == ("model.safetensors", "pytorch_model.bin")


def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(GenderClsError, match=r"timm/resnet10t\.c3 has no|resnet.* no pretrained weights"):
        published_file(ModelConfig(Library.timm, unpublished()))


def unpublished() -> str:
    """A model that timm has, without weights."""
    return next(name for name in timm.list_models("resnet*") if not timm.models.is_model_pretrained(name))
