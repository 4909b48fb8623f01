"""Loading, saving and publishing through a Hub in memory.

huggingface_hub reads its settings when it is imported, so every scenario runs in a process of its own, which starts the
server, sets the environment, and only then imports the zoo.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import hub_server
import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(scenario: str, folder: Path, *, module: str = "test_hub", **environment: str) -> None:
    """Run one `scenario_...` of a file in a process of its own."""
    kept = {k: v for k, v in hub_server.stripped().items() if not k.startswith("ZOO_")}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    code = f"import pathlib, {module}; {module}.scenario_{scenario}(pathlib.Path({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": paths, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def one_line_error(kind: type[Exception], action, *words: str) -> str:
    with pytest.raises(kind) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text
    return text


def pin_the_model(pin) -> None:
    """Give PixelCNN of this process a tag "test"."""
    from zoo import registry

    models = registry.plugins().owners["pixelcnn"].models
    models[:] = [dataclasses.replace(s, weights={"test": pin}) if s.name == "pixelcnn" else s for s in models]


def same(a, b) -> bool:
    return all(x.equal(y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def scenario_publish(folder: Path) -> None:
    """Push, push again, load by every kind of name, offline reads from the cache, a damaged cache heals."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home")
        import zoo
        from zoo import hub
        from zoo.errors import HubError, UnknownNameError, WeightsError
        from zoo.hub import cache

        hub.load("pixelcnn", weights=ROOT / "model_cards" / "pixelcnn-mnist", device="cpu")
        assert "huggingface_hub" not in sys.modules  # a folder loads without it
        model = zoo.build("pixelcnn", preset="tiny")
        saved = hub.save(
            model, folder / "weights", samples=4, data="me/digits", licence="mit", training={"examples": 7}
        )
        assert sorted(path.name for path in saved.iterdir()) == sorted(
            ["README.md", "config.json", "model.safetensors", "samples.png"]
        )
        assert same(model, hub.load("pixelcnn", weights=saved, device="cpu"))

        pin = hub.push(saved, "me/tiny")
        repo = server.repos["models/me/tiny"]
        assert pin.revision == repo.branches["main"]
        assert len(repo.commits) == 2  # the initial one and ours
        assert set(repo.find("main")[1]) == {".gitattributes", *(path.name for path in saved.iterdir())}
        card = repo.find("main")[1]["README.md"].decode()
        assert 'weights="me/tiny"' in card
        assert (saved / "README.md").read_text() == card
        assert hub.push(saved, "me/tiny") == pin
        assert len(repo.commits) == 2

        for name in ("me/tiny", f"me/tiny@{pin.revision}", "me/tiny@main"):
            loaded = hub.load("pixelcnn", weights=name, device="cpu")
            assert same(model, loaded)
            assert not loaded.training
        before = len(server.requests)
        hub.load("pixelcnn", weights=f"me/tiny@{pin.revision}")
        assert len(server.requests) == before  # a full commit hash in the cache needs no request

        pin_the_model(pin)
        assert same(model, hub.load("pixelcnn", weights="test"))
        one_line_error(UnknownNameError, lambda: hub.load("pixelcnn", weights="tset"), "did you mean 'test'?")
        for some in (pin, dataclasses.replace(pin, revision=None, summary='it\'s "quoted"')):
            assert eval(hub.pin_text(some), {"Weights": zoo.Weights}) == some

        cached = hub.download("pixelcnn", "test")
        blob = (cached / "model.safetensors").resolve()
        content = blob.read_bytes()
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert same(model, hub.load("pixelcnn", weights="test"))
        assert (cached / "model.safetensors").read_bytes() == content

        (cached / "config.json").resolve().write_bytes(b"{")
        assert same(model, hub.load("pixelcnn", weights="test"))

        # A Hub that keeps sending wrong bytes is an error, and a single hiccup is none.
        cache.forget(cached)
        server.corrupt("model.safetensors", times=1)
        assert same(model, hub.load("pixelcnn", weights="test"))
        cache.forget(cached)
        server.corrupt("model.safetensors", times=2)
        one_line_error(WeightsError, lambda: hub.load("pixelcnn", weights="test"), "sha256")
        server.corrupted.clear()
        hub.load("pixelcnn", weights="test")

        # Other weights replace nothing, unless they are meant to.
        changed = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "changed", licence="mit")
        one_line_error(HubError, lambda: hub.push(changed, "me/tiny"), "holds other weights", pin.sha256, "--force")
        assert hub.push(saved, "me/tiny") == pin
        assert hub.push(changed, "me/tiny", force=True).sha256 != pin.sha256
        hub.push(saved, "me/tiny", force=True)

        import huggingface_hub

        # Nor do they replace what somebody else has published since they were compared, even if they are meant to.
        api = huggingface_hub.HfApi()
        for name, weights in (("me/tiny", changed), ("me/empty", saved)):
            api.create_repo(name, exist_ok=True)
            theirs = server.repos[f"models/{name}"]

            def meanwhile(*_: object, theirs: hub_server.Repo = theirs, **__: object) -> None:
                theirs.add("main", "theirs", {**theirs.find("main")[1], "notes.txt": b"new"})

            with mock.patch.object(type(api), "create_repo", meanwhile):
                late = partial(hub.push, weights, name, force=True)
                one_line_error(HubError, late, "somebody else has published to main meanwhile")
            assert theirs.commits[theirs.branches["main"]][0] == "theirs"
        hub.push(saved, "me/tiny", force=True)

        # Another revision, as a branch.
        other = hub.push(hub.save(zoo.build("pixelcnn", preset="tiny"), saved, licence="mit"), "me/tiny", revision="v2")
        assert other.revision == repo.branches["v2"] != pin.revision
        assert not same(model, hub.load("pixelcnn", weights="me/tiny@v2"))
        assert same(model, hub.load("pixelcnn", weights="test"))
        wrong = dataclasses.replace(pin, sha256="0" * 64)
        pin_the_model(wrong)
        one_line_error(WeightsError, lambda: hub.load("pixelcnn", weights="test"), "the pin says 000000000000")
        pin_the_model(dataclasses.replace(pin, revision=None))
        one_line_error(HubError, lambda: hub.load("pixelcnn", weights="test"), "only bundled with the source")
        pin_the_model(pin)
        hub.load("pixelcnn", weights="test")
        (folder / "revision").write_text(pin.revision)
    # The server is gone now, and what is cached still loads, a branch too.
    assert same(model, hub.load("pixelcnn", weights="test"))
    assert hub.load("pixelcnn", weights="me/tiny@main") is not None


def scenario_offline(folder: Path) -> None:
    """HF_HUB_OFFLINE=1 after `scenario_publish`, without a server."""
    from zoo import hub
    from zoo.errors import HubError, WeightsError

    revision = (folder / "revision").read_text()
    assert hub.load("pixelcnn", weights=f"me/tiny@{revision}").sample(1).shape == (1, 1, 8, 8)
    hub.load("pixelcnn", weights="me/tiny")
    one_line_error(HubError, lambda: hub.load("pixelcnn", weights="me/other"), "HF_HUB_OFFLINE", "me/other")
    one_line_error(HubError, lambda: hub.push(folder / "weights", "me/tiny"), "offline mode is on")
    cached = hub.download("pixelcnn", f"me/tiny@{revision}")
    (cached / "model.safetensors").resolve().write_bytes(b"junk")
    load = lambda: hub.load("pixelcnn", weights=f"me/tiny@{revision}")  # noqa: E731
    one_line_error(WeightsError, load, "damaged copy was removed", "HF_HUB_OFFLINE")
    one_line_error(HubError, load, "is not in the cache")


def scenario_refusals(folder: Path) -> None:
    """What the Hub refuses, with its mend; nothing is sent for a folder that is not fit to be published."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home", token=None)
        from huggingface_hub import constants

        import zoo
        from zoo import hub
        from zoo.errors import HubError, UnknownNameError, WeightsError

        def load(name: str):
            return lambda: hub.load("pixelcnn", weights=name)

        saved = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "weights", samples=0, licence="mit")
        one_line_error(HubError, lambda: hub.push(saved, "me/tiny"), "without a token", "hf auth login")
        one_line_error(HubError, lambda: hub.push(saved, "tiny", token="x"), "owner/name")
        assert not server.requests
        one_line_error(HubError, lambda: hub.push(saved, "me/tiny", token="hf_bad"), "token", "hf auth login")
        one_line_error(HubError, lambda: hub.push(saved, "me/tiny", token=hub_server.READER), "hf auth login", "'me'")
        assert not server.repos
        hub.push(saved, "me/tiny", token=hub_server.TOKEN)

        unlicensed = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "unlicensed", samples=0)
        broken = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "broken", samples=0, licence="mit")
        package = hub.prepare(broken, "me/no")
        (broken / "model.safetensors").write_bytes(b"junk")
        before = len(server.requests)
        one_line_error(WeightsError, lambda: hub.push(unlicensed, "me/no", token=hub_server.TOKEN), "--licence ID")
        one_line_error(WeightsError, lambda: hub.push(broken, "me/no", token=hub_server.TOKEN), "4 bytes")
        assert len(server.requests) == before
        one_line_error(WeightsError, lambda: hub.send(package, token=hub_server.TOKEN), "changed since it was checked")
        assert not server.count(path="me/no")
        before = len(server.requests)
        files = {path.name: path.read_bytes() for path in unlicensed.iterdir()}
        wrong = lambda: hub.push(unlicensed, "me/no", token=hub_server.TOKEN, licence="apache2")  # noqa: E731
        one_line_error(UnknownNameError, wrong, "unknown licence 'apache2'; did you mean 'apache-2.0'?")
        assert len(server.requests) == before
        server.fail_next(403, path="/commit")
        one_line_error(HubError, lambda: hub.push(unlicensed, "me/mine", token=hub_server.TOKEN, licence="mit"), "may")
        assert {path.name: path.read_bytes() for path in unlicensed.iterdir()} == files
        hub.push(unlicensed, "me/mine", token=hub_server.TOKEN, licence="mit")
        sent = server.repos["models/me/mine"].find("main")[1]
        for name in ("README.md", "config.json"):  # the folder says it too, so that it need not be stated again
            assert (unlicensed / name).read_bytes() == sent[name] != files[name]
        commits = len(server.repos["models/me/mine"].commits)
        hub.push(unlicensed, "me/mine", token=hub_server.TOKEN)
        assert len(server.repos["models/me/mine"].commits) == commits
        del server.repos["models/me/mine"]
        before = len(server.requests)

        (unlicensed / "README.md").unlink()
        one_line_error(WeightsError, lambda: hub.push(unlicensed, "me/no", token=hub_server.TOKEN), "card")
        assert len(server.requests) == before

        one_line_error(HubError, load("me/none"), "no such repository", "hf auth login")
        one_line_error(HubError, load("me/tiny@v9"), "no revision 'v9'")
        server.repos["models/me/empty"] = empty = hub_server.Repo()
        empty.add("main", "empty", {"pytorch_model.bin": b"x"})
        one_line_error(HubError, load("me/empty"), "no config.json or no model.safetensors")
        server.repos["models/me/tiny"].gated = True
        one_line_error(HubError, load("me/tiny"), "gated", f"{server.url}/me/tiny")
        server.repos["models/me/tiny"] = dataclasses.replace(server.repos["models/me/tiny"], gated=False, private=True)
        one_line_error(HubError, load("me/tiny"), "or it is private", "hf auth login")
        os.environ["HF_TOKEN"] = "hf_revoked"
        one_line_error(HubError, load("me/tiny"), "hf auth login")
        os.environ["HF_TOKEN"] = hub_server.TOKEN
        assert load("me/tiny")() is not None
        assert server.url == constants.ENDPOINT
        server.fail_next(403, times=5, path="/preupload")
        (saved / "samples.png").write_bytes(b"new")
        one_line_error(HubError, lambda: hub.push(saved, "me/tiny"), "may not do that", "hf auth login")
        assert len(server.repos["models/me/tiny"].commits) == 2


def scenario_unreachable(folder: Path) -> None:
    """A dead endpoint without a cache is an error after one probe, so without the library's many tries."""
    from zoo import hub
    from zoo.errors import HubError

    one_line_error(HubError, lambda: hub.load("pixelcnn", weights="me/tiny"), "can't reach http://127.0.0.1:9", "cache")


def serve(server: hub_server.Server, folder: Path, repo: str) -> str:
    """Put the files of a folder on the server; the commit."""
    made = server.repos[f"models/{repo}"] = hub_server.Repo()
    return made.add("main", "first", {path.name: path.read_bytes() for path in folder.iterdir()})


def scenario_trouble(folder: Path) -> None:
    """What can be mended by trying again is; any other trouble of the server ends in one line after a few requests."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home")
        os.environ |= {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        import zoo
        from zoo import hub
        from zoo.errors import HubError
        from zoo.hub import cache

        saved = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "weights", samples=0)
        serve(server, saved, "me/tiny")
        content = (saved / "model.safetensors").read_bytes()
        waits: list[float] = []
        import huggingface_hub.utils._http

        huggingface_hub.utils._http.time = SimpleNamespace(sleep=waits.append)

        def fine() -> None:
            found = hub.download("pixelcnn", "me/tiny")
            assert (found / "model.safetensors").read_bytes() == content
            cache.forget(found)

        def fails(*words: str) -> None:
            before = len(server.requests)
            one_line_error(HubError, lambda: hub.download("pixelcnn", "me/tiny"), "can't download 'me/tiny'", *words)
            assert len(server.requests) - before < 20
            assert sum(waits) < 60
            server.faults.clear()
            waits.clear()

        fine()
        for status in (429, 500, 503):
            server.fail_next(status, times=99, path="/resolve", Retry_After="3600")
            fails(f"answers {status}", "try again later")
        server.fail_next(503, times=99, method="GET", path="/model.safetensors")
        fails("answers 503", "try again later")
        server.fail_next(429, method="GET", path="/model.safetensors", Retry_After="7")
        fine()
        assert waits == [8]
        waits.clear()
        server.fail_next(503, method="HEAD", path="/model.safetensors")
        fine()
        server.fail_next(401, times=9, path="/resolve")
        fails("does not accept the token", "hf auth login")
        server.fail_next(0, times=99, path="/resolve")
        fails("does not answer as it should", "disconnected")

        server.cut("model.safetensors", times=2)
        before = server.count("GET", "/model.safetensors")
        fine()  # in three parts
        assert server.count("GET", "/model.safetensors") == before + 3
        hub.download("pixelcnn", "me/tiny")
        server.fail_next(503, times=99)
        assert hub.download("pixelcnn", "me/tiny").is_dir()  # a copy that is there will do
        cache.forget(hub.download("pixelcnn", "me/tiny"))
        server.faults.clear()
        server.delay = 2
        fails("does not answer as it should", "timed out", "try again later")


def scenario_secret(folder: Path) -> None:
    """Name and password in the endpoint's address stay out of every message, warnings of the library included."""
    with hub_server.running() as server:
        secret = server.url.replace("http://", "http://me:q9z@k7w@")
        os.environ |= server.environment(folder / "home") | {"HF_ENDPOINT": secret}
        import io
        import logging
        import traceback

        import huggingface_hub.utils._http

        import zoo
        from zoo import hub
        from zoo.errors import HubError
        from zoo.hub import cache

        saved = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "weights", samples=0, licence="mit")
        serve(server, saved, "me/tiny")
        huggingface_hub.utils._http.time = SimpleNamespace(sleep=lambda seconds: None)
        hub_server.Handler.token = hub_server.TOKEN  # which the name and password in the address replace
        said = io.StringIO()
        [handler] = logging.getLogger("huggingface_hub").handlers
        handler.setStream(said)
        lines, texts = [], []
        for status, path in ((503, ""), (404, ""), (0, ""), (403, "/resolve"), (429, "/resolve")):
            for action in (
                lambda: hub.download("pixelcnn", "me/tiny"),
                lambda: cache.commit("me/tiny"),
                lambda: hub.push(saved, "me/other"),
            ):
                server.fail_next(status, times=99, path=path)
                try:
                    action()
                except HubError as error:
                    lines.append(str(error))
                    texts.append("".join(traceback.format_exception(error)))
                server.faults.clear()
        server.fail_next(429, method="GET", path="/model.safetensors")
        hub.download("pixelcnn", "me/tiny")
        assert "HTTP Error 429" in said.getvalue()
        assert len(texts) > 9
        assert not [line for line in lines if "\n" in line]
        assert not [text for text in (*texts, said.getvalue()) if "q9z" in text or "k7w" in text]
        assert any(server.url in text for text in texts)


def scenario_odd(folder: Path) -> None:
    """An address or a token that can not be one."""
    from zoo import hub
    from zoo.errors import HubError
    from zoo.hub import cache

    words = os.environ["WORDS"].split("|")
    bundled = ROOT / "model_cards" / "pixelcnn-mnist"
    one_line_error(HubError, lambda: hub.download("pixelcnn", "me/tiny"), *words)
    one_line_error(HubError, lambda: cache.commit("me/tiny"), *words)
    one_line_error(HubError, lambda: hub.push(bundled, "me/tiny"), *words)


def scenario_parallel(folder: Path) -> None:
    """Processes that ask for the same file end with one correct copy; what a killed one left behind is removed."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home")
        import multiprocessing

        import zoo
        from zoo import hub

        saved = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "weights", samples=0)
        oid = serve(server, saved, "me/tiny")
        server.rate = (saved / "model.safetensors").stat().st_size / 0.5
        blobs = folder / "home" / "hub" / "models--me--tiny" / "blobs"
        blobs.mkdir(parents=True)
        for name, age in (("old", 3600), ("new", 5)):
            part = blobs / f"{name}.0123abcd.incomplete"
            part.touch()
            os.utime(part, (time.time() - age, time.time() - age))
        fork = multiprocessing.get_context("fork")  # so that torch is imported once
        processes = [fork.Process(target=hub.download, args=(f"me/tiny@{oid}",)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        assert [process.exitcode for process in processes] == [0] * 4
        assert [path.name for path in blobs.glob("*.incomplete")] == ["new.0123abcd.incomplete"]
        assert len(list(blobs.iterdir())) == 3
        requests = len(server.requests)
        assert same(zoo.load(str(saved)), zoo.load(f"me/tiny@{oid}"))
        assert len(server.requests) == requests


def scenario_stranger(folder: Path) -> None:
    """A repository alone names its model; one whose plugin is missing is refused, and nothing is installed or run."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home")
        import zoo
        from zoo import hub
        from zoo.cli import main
        from zoo.errors import HubError, OptionError, UnknownNameError, WeightsError

        model = zoo.build("pixelcnn", preset="tiny")
        saved = hub.save(model, folder / "weights", samples=0)
        oid = serve(server, saved, "me/tiny")
        for name in ("me/tiny", f"me/tiny@{oid}", str(saved)):
            assert same(model, zoo.load(name))
            assert main(["download", name]) == 0
        one_line_error(OptionError, lambda: zoo.load("pixelcnn"), "say which weights of pixelcnn")
        one_line_error(UnknownNameError, lambda: zoo.load("pixlecnn"), "did you mean 'pixelcnn'?")
        one_line_error(WeightsError, lambda: zoo.load(Path("pixlecnn")), "can't read the weights folder 'pixlecnn'")
        one_line_error(OptionError, lambda: zoo.load(3), "or where its weights are, not 3")
        one_line_error(HubError, lambda: zoo.load("me/none"), "no such repository")

        config = json.loads((saved / "config.json").read_text())
        config |= {"model": "nade", "plugin": {"distribution": "zoo-nade", "version": "1.0"}}
        (saved / "config.json").write_text(json.dumps(config))
        serve(server, saved, "you/nade")

        def refuse(*arguments: object, **more: object) -> None:
            raise AssertionError(arguments)

        subprocess.Popen.__init__ = os.system = refuse
        modules = set(sys.modules)
        mend = "saved with zoo-nade 1.0: install that if you trust it"
        one_line_error(WeightsError, lambda: zoo.load("you/nade"), mend)
        with pytest.warns(UserWarning, match=mend) as caught:  # the folder is to be had, for where the plugin is
            folder_of_it = hub.download("you/nade")
        assert len(caught) == 1
        assert (folder_of_it / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
        with pytest.warns(UserWarning, match=mend):
            assert main(["download", "you/nade"]) == 0
        one_line_error(WeightsError, lambda: zoo.load("pixelcnn", weights="you/nade"), "of 'nade', not of 'pixelcnn'")
        assert not [name for name in set(sys.modules) - modules if "nade" in name]


def scenario_every(folder: Path) -> None:
    """Every registered model goes through a Hub and comes back with equal weights and samples."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home")
        import zoo
        from zoo import hub

        for spec in zoo.models():
            model = zoo.build(spec.name, preset="tiny").released().eval()
            saved = hub.save(model, folder / spec.name, samples=1, licence="mit")
            pin = hub.push(saved, f"me/{spec.name}")
            assert hub.push(saved, f"me/{spec.name}") == pin
            loaded = zoo.load(spec.name, weights=f"me/{spec.name}@{pin.revision}", device="cpu")
            assert same(model, loaded), spec.name
            shown = {"seed": 3, **model.examples(2)}
            assert model.sample(2, **shown).equal(loaded.sample(2, **shown)), spec.name
            sent = server.repos[f"models/me/{spec.name}"].find("main")[1]
            assert {name: sent[name] for name in sent if name != ".gitattributes"} == {
                path.name: path.read_bytes() for path in saved.iterdir()
            }


def scenario_data(folder: Path) -> None:
    """A data set on the Hub, named by its id, is read whole and as a stream."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home")
        import datasets
        import torch
        from conftest import write_pictures

        from zoo import data
        from zoo.errors import DataError

        pictures = str(write_pictures(folder / "pictures", 40))
        local = data.load(pictures, "train", (1, 8, 8))
        datasets.load_dataset("imagefolder", data_dir=pictures, split="train").push_to_hub("me/pictures")
        remote = data.load("me/pictures", "train", (1, 8, 8))
        assert torch.equal(remote.batch(range(38))["image"], local.batch(range(38))["image"])
        stream, held_out = data.stream("me/pictures", (1, 8, 8), seed=0)
        assert len(held_out) == 40
        one_line_error(DataError, lambda: stream.take(0, 4), "is empty")  # all were held out
        one_line_error(DataError, lambda: data.load("me/none", "train", (1, 8, 8)), "can't load 'me/none'")
    # The server is gone: what was read is in the cache.
    again = data.load("me/pictures", "train", (1, 8, 8))
    assert torch.equal(again.batch(range(38))["image"], local.batch(range(38))["image"])
    one_line_error(DataError, lambda: data.load("me/other", "train", (1, 8, 8)), "the Hub can't be reached")
    one_line_error(DataError, lambda: data.load("mnist", "train", (1, 8, 8)), "$ZOO_DATA/mnist")


def test_a_data_set_on_the_hub_is_read_by_its_id(tmp_path):
    run("data", tmp_path)


def test_publish_load_and_heal_then_load_offline(tmp_path):
    run("publish", tmp_path)
    run("offline", tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "home"), HF_ENDPOINT="http://127.0.0.1:9")


def test_every_model_goes_through_a_hub(tmp_path):
    run("every", tmp_path)


def test_the_kit_leaves_the_hub_of_the_user_alone(monkeypatch, tmp_path):
    """Whatever is set there: endpoint, cache, token, offline mode, proxies."""
    from zoo import testing

    dead = "http://127.0.0.1:9"
    for name in ("HF_ENDPOINT", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, "hf_secret")
    before = dict(os.environ)
    for only in ("publish_and_load", "save_and_load"):
        [result] = testing.check("pixelcnn", only=only)
        assert result.status == "pass", result.detail
    assert list(tmp_path.iterdir()) == []
    after = {name: value for name, value in os.environ.items() if name in before or name.startswith("HF_")}
    assert after == before


def test_refusals_name_the_mend(tmp_path):
    run("refusals", tmp_path)


def test_a_server_in_trouble(tmp_path):
    run("trouble", tmp_path)


def test_passwords_in_an_address_are_not_shown(tmp_path):
    run("secret", tmp_path)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:99999", "HF_ENDPOINT is no address, 'http://127.0.0.1:99999'|Port out of range"),
        ("http://me:word@127.0.0.1:x", "HF_ENDPOINT is no address, 'http://127.0.0.1:x'"),
        ("http://[::1", "HF_ENDPOINT is no address, 'http://[::1'"),
        ("127.0.0.1", "can't reach 127.0.0.1"),
        ("ftp://127.0.0.1", "can't reach ftp://127.0.0.1"),
    ],
)
def test_addresses_that_are_none(tmp_path, address, words):
    run("odd", tmp_path, HF_ENDPOINT=address, HF_HOME=str(tmp_path), HF_TOKEN="x", WORDS=words)


def test_a_token_that_is_none(tmp_path):
    with hub_server.running() as server:
        environment = server.environment(tmp_path, token="hf_\u00e4")
        run("odd", tmp_path, **environment, WORDS="the token has characters that no token has|hf auth login")


def test_processes_that_download_the_same(tmp_path):
    run("parallel", tmp_path)


def test_a_repository_whose_plugin_is_missing(tmp_path):
    run("stranger", tmp_path)


def test_dead_endpoint_is_reported_quickly(tmp_path):
    run("unreachable", tmp_path, HF_HOME=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9")


def test_bundled_weights_need_neither_cache_nor_hub(tmp_path, monkeypatch):
    import zoo
    from zoo import hub
    from zoo.errors import HubError
    from zoo.hub.config import read_config

    model = zoo.build("pixelcnn", preset="tiny")
    folder = hub.save(model, tmp_path / "model_cards" / "tiny", samples=0)
    config = read_config(folder)
    pin = zoo.Weights(repo="me/tiny", revision=None, sha256=config.sha256, size=config.size)
    spec = dataclasses.replace(model.spec, weights={"test": pin})
    from zoo.hub.resolve import resolve

    monkeypatch.setattr("zoo.hub.resolve.checkout", lambda: tmp_path)
    assert resolve(spec, "test") == (folder, pin)
    assert hub.download(spec, "test") == folder
    damaged = (folder / "model.safetensors").read_bytes()[:-1] + b"?"
    (folder / "model.safetensors").write_bytes(damaged)
    with pytest.raises(HubError, match="does not hold them"):
        resolve(spec, "test")


def test_weights_come_with_the_wheel(tmp_path, monkeypatch):
    """Where there is no checkout, they are in the package, where pyproject.toml says that the wheel has them."""
    import tomllib

    from zoo.hub import resolve

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "model_cards" in wheel["only-include"]
    monkeypatch.setattr(resolve, "checkout", lambda: None)
    monkeypatch.setattr(resolve, "__file__", str(tmp_path / "zoo" / "hub" / "resolve.py"))
    (tmp_path / "zoo").mkdir()
    (tmp_path / wheel["sources"]["model_cards"]).symlink_to(ROOT / "model_cards")
    from zoo import hub

    found = hub.download("pixelcnn", "mnist")
    assert found == tmp_path / "zoo" / "model_cards" / "pixelcnn-mnist"


def test_save_writes_a_card_that_validates(tmp_path):
    import yaml
    from PIL import Image

    import zoo
    from zoo import hub
    from zoo.hub import card

    receipt = {
        "name": "bits_per_dim",
        "value": 1.25,
        "data": "me/digits",
        "split": "test",
        "count": 9,
        "command": "a|b",
    }
    model = zoo.build("pixelcnn", preset="tiny")
    info = {
        "data": "me/digits",
        "training": {"examples": 9, "minutes": 0.5},
        "metrics": [receipt],
        "base_model": "me/old",
    }
    folder = hub.save(model, tmp_path / "w", samples=4, licence="Apache-2.0", limitations="Tiny.", **info)
    text = (folder / "README.md").read_text()
    assert card.validate(text) == []
    for part in (
        "license: apache-2.0",
        "base_model: me/old",
        "model-index",
        "me/digits",
        "| bits_per_dim | 1.25 |",
        "a\\|b",
        "Tiny.",
    ):
        assert part in text
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (22, 22)  # 2 x 2 samples of 8 x 8 with 2 between
    assert card.validate("# No metadata") != []
    assert "license" in card.validate(text.replace("license: apache-2.0\n", ""))[0]
    assert card.validate("---\n- [\n---\ntext") != []
    found = yaml.safe_load(text.split("---")[1])
    [index] = found["model-index"]
    assert index["results"][0]["metrics"] == [{"type": "bits_per_dim", "name": "bits per dim", "value": 1.25}]
    own = card.metadata(model.spec, {"licence": "My Licence 2"})
    assert (own["license"], own["license_name"]) == ("other", "my-licence-2")


def test_class_names_are_saved_and_loaded_and_shown(tmp_path, tiny):
    import copy

    import zoo
    from zoo import hub
    from zoo.errors import WeightsError

    named = copy.deepcopy(tiny)
    named.class_names = ("ant", "bee | wasp")
    folder = hub.save(named, tmp_path / "named", samples=0)
    assert zoo.load(folder, device="cpu").class_names == ("ant", "bee | wasp")
    assert "| classes | ant, bee \\| wasp |" in (folder / "README.md").read_text()
    plain = hub.save(tiny, tmp_path / "plain", samples=0)
    assert zoo.load(plain, device="cpu").class_names == ()
    config = json.loads((plain / "config.json").read_text())
    assert "classes" not in config
    for wrong in ([1], "ant", ["ant", ""]):
        (plain / "config.json").write_text(json.dumps({**config, "classes": wrong}))
        one_line_error(WeightsError, lambda: zoo.load(plain), "'classes'", "must")


def test_the_card_of_a_third_party_names_its_package(tiny):
    from zoo.hub import card

    config = {"config": {}, "zoo_version": "1", "plugin": {"distribution": "pixelzoo", "version": "1"}}
    ours = card.render(tiny.spec, config)
    assert "torch.hub.load" in ours
    assert "pip install" not in ours
    theirs = card.render(tiny.spec, {**config, "plugin": {"distribution": "zoo-nade", "version": "1"}})
    assert "`pip install zoo-nade`:\n\n```python\nimport zoo\n\nmodel = zoo.load(" in theirs
    assert "torch.hub" not in theirs  # which has the models of this source alone


@pytest.mark.parametrize(
    ("name", "config", "inputs"),
    [
        ("deep_video_portraits", {}, ("condition", "correspondence", "gaze")),
        ("deep_video_portraits", {"conditions": ("gaze",)}, ("gaze",)),
        ("everybody_dance_now", {}, ("condition",)),
        ("everybody_dance_now", {"people": 0, "reference": True, "window": 3}, ("condition", "reference")),
        ("dvdgan", {"given_frames": 2}, ("given",)),
        ("dvdgan", {}, ()),
        ("conditional_pixelcnn", {}, ()),
    ],
)
def test_the_commands_of_a_card_say_all_that_these_weights_draw_nothing_without(name, config, inputs):
    import zoo
    from zoo.hub import card

    model = zoo.build(name, preset="tiny", **config)
    made = {"plugin": {"distribution": "pixelzoo", "version": "1"}, "zoo_version": "1"}
    text = card.render(model.spec, {**made, "config": model.config})
    [command] = re.findall(r"^zoo sample .*$", text, re.MULTILINE)
    assert command == " ".join([f"zoo sample {name} --weights OWNER/NAME", *(f"--option {i}=FILE" for i in inputs)])
    assert ("**model.examples(" in text) == bool(inputs)


def test_what_a_card_shows_is_published_with_it(tmp_path, tiny):
    from zoo import hub
    from zoo.errors import WeightsError

    folder = hub.save(tiny, tmp_path / "weights", licence="mit", limitations="See ![a walk](walk.gif), [log](log.txt).")
    (folder / "notes.txt").touch()
    one_line_error(WeightsError, lambda: hub.prepare(folder, "me/tiny"), "it shows walk.gif, which is not there")
    (folder / "walk.gif").touch()
    shown = {"README.md", "config.json", "model.safetensors", "samples.png", "walk.gif"}
    assert set(hub.prepare(folder, "me/tiny").files) == shown


@pytest.mark.parametrize("before", [None, "apache-2.0", "My Licence 2"])
@pytest.mark.parametrize("data", [None, "me/digits"])
def test_a_licence_is_stated_as_if_the_card_had_been_made_with_it(tmp_path, tiny, before, data):
    import yaml

    from zoo import hub
    from zoo.hub import card

    folder = hub.save(tiny, tmp_path / "weights", licence=before, data=data)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    package = hub.prepare(folder, "OWNER/NAME", licence="CC-BY-4.0")  # so that the place in the card stays as it is
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    again = hub.save(tiny, tmp_path / "again", licence="cc-by-4.0", data=data)
    assert package.files["README.md"] == (again / "README.md").read_bytes()
    assert json.loads(package.files["config.json"]) == json.loads((again / "config.json").read_bytes())

    text = (folder / "README.md").read_text().replace("## Training", "Written by hand: é.\n\n## Training")
    stated = card.with_licence(text.replace("tags:", "language: en # hi\ntags:"), "mit")
    assert "Written by hand: é." in stated
    assert yaml.safe_load(stated.split("---")[1])["language"] == "en"
    assert stated.count("mit") == 2
    assert card.with_licence("# No metadata", "mit") == "# No metadata"


def test_another_licence_keeps_its_name_and_link(tmp_path, tiny):
    from zoo import hub
    from zoo.hub import card

    folder = hub.save(tiny, tmp_path / "weights", samples=0)
    bare = (folder / "README.md").read_text()
    assert "license" not in bare
    assert "licence" not in bare
    assert "license: other\nlicense_name: other\n" in card.with_licence(bare, "other")
    named = "license_name: mine-1\nlicense_link: https://example.org\n"
    text = card.with_licence(bare.replace("---\n", f"---\nlicense: other\n{named}", 1), "other")
    assert f"license: other\n{named}" in text
    assert card.validate(text) == []
    assert "license_name" not in card.with_licence(text, "mit")


def test_the_command_on_a_card_quotes_names_with_blanks(tiny, tmp_path):
    from zoo import hub

    folder = hub.save(tiny, tmp_path / "weights", samples=0)
    receipt = {
        "name": "nats",
        "value": 1.0,
        "data": "my photos",
        "split": "test",
        "count": 9,
        "columns": "label=a kind",
    }
    hub.record(folder, [{**receipt, "columns": "label=a kind"}])
    command = "--weights OWNER/NAME --data 'my photos' --split test --column 'label=a kind'"
    assert f"zoo eval pixelcnn {command}\n" in (folder / "README.md").read_text()


def test_the_command_on_a_card_keeps_values_with_commas_whole(tiny, tmp_path):
    from zoo import hub

    folder = hub.save(tiny, tmp_path / "weights", samples=0)
    shared = {"data": "photos", "split": "test", "count": 9}
    nats = {"name": "nats", "value": 1.0, **shared, "columns": "label=a, b, caption=c"}
    fd = {
        "name": "fd",
        "value": 1.0,
        **shared,
        "features": "x.pt",
        "seed": 0,
        "options": "text=red, round, method=naive",
    }
    hub.record(folder, [nats, fd])
    card = (folder / "README.md").read_text()
    assert " --column 'label=a, b' --column caption=c\n" in card
    assert " --option 'text=red, round' --option method=naive " in card


def test_recording_a_figure_keeps_the_limitations_and_the_pictures(tiny, tmp_path):
    """A picture that the card shows is published with it, so that it must not vanish; one that is not there is left
    out."""
    from zoo import hub

    folder = hub.save(tiny, tmp_path / "weights", limitations="Draws\n\nnothing at all.")
    shown = "![samples](samples.png)\n\n![walk](walk.gif)"
    text = (folder / "README.md").read_text().replace("![samples](samples.png)", f"{shown}\n\n![lost](lost.png)")
    (folder / "README.md").write_text(text)
    (folder / "walk.gif").write_bytes((folder / "samples.png").read_bytes())
    receipt = {"name": "nats", "value": 1.5, "data": "mnist", "split": "test", "count": 10}
    hub.record(folder, [receipt])
    text = (folder / "README.md").read_text()
    assert f"{shown}\n" in text
    assert "lost" not in text
    assert text.endswith("## Limitations\n\nDraws\n\nnothing at all.\n")
    assert "| nats | 1.5 |" in text


@pytest.mark.parametrize("address", ["https://me:{}@127.0.0.1:1", "me:{}@127.0.0.1:1", "http://me:{}@host:99999"])
@pytest.mark.parametrize("password", ["s3cret", "s3/cret", "s3?cret", "s3#cret", "s3@cret"])
def test_no_part_of_a_password_in_the_address_is_shown(address: str, password: str) -> None:
    environment = {**os.environ, "HF_ENDPOINT": address.format(password), "HF_HUB_OFFLINE": "0"}
    code = "import sys; from zoo.cli import main; sys.exit(main(['download', 'me/digits']))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert not [part for part in ("s3", "cret") if part in done.stdout + done.stderr], done.stderr
