"""The playground in a reader's hands: the model in it is the kit's, every panel answers, nothing leaves the page."""

import base64
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from playwright.sync_api import Page, expect, sync_playwright
from typer.testing import CliRunner

import adaptlab as al
from adaptlab import paths
from adaptlab.engine.lm import LM
from adaptlab.methods.prompting import WorldPrompt, class_prompt
from adaptlab.methods.sharpening import best_of, powered
from adaptlab.runner import playground, playground_content
from adaptlab.runner.cli import app
from adaptlab.studies import augmentation as study
from adaptlab.tasks.reasoning import final_answer
from adaptlab.tasks.records import Labelled
from browser import asked, installed, launch, photographed

PATIENCE = 300_000  # milliseconds for one step, on a machine that is busy with other things
READY = "Ready."
LETTERS = "abc XYZ 019 .,:;!?'\"-_/ \n\t\r é ü ß 日本 語 😀 \u00a0 \u0085 \u3000 don't we'll"


@pytest.fixture(scope="module")
def lm() -> LM:
    return al.load("study", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def file(lm: LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / playground.NAME
    path.write_text(playground.page(lm, "a-key"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def soup(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def data(soup: BeautifulSoup) -> dict:
    return json.loads(soup.select_one("#data").text)


@pytest.fixture(scope="module")
def twins(lm: LM, soup: BeautifulSoup, data: dict) -> dict[str, LM]:
    """The models of the page, in torch: the very weights that stand in it."""
    stored = playground.unpacked(base64.b64decode(soup.select_one("#weights").text), data["index"])
    shapes = {name: tensor.shape for name, tensor in lm.model.state_dict().items() if name in stored}
    base = {name: stored[name].reshape(shape) for name, shape in shapes.items()}
    found = {}
    for twin in [{"id": "base", "learned": [], "scale": 0}, *data["twins"]]:
        weights = dict(base)
        for name in twin["learned"]:
            a, b = (stored[f"{twin['id']}/{name}.{letter}"] for letter in "AB")
            weights[f"{name}.weight"] = base[f"{name}.weight"] + twin["scale"] * b @ a
        copy = type(lm.model)(lm.model.config)
        copy.load_state_dict(weights, strict=False)
        copy.tie_weights()
        found[twin["id"]] = replace(lm, model=copy.eval(), digest=f"page {twin['id']}")
    return found


@pytest.fixture(scope="module")
def opened(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The page in a browser, with all that it asked for and all that the console said."""
    folder = tmp_path_factory.mktemp("browser")
    with sync_playwright() as playwright:
        executable = installed(playwright)
        if executable is None:
            pytest.skip("no Chromium on this machine: run `make browser`")
        context = launch(playwright, executable, folder / "profile")
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page, said = context.pages[0], []
        addresses = asked(context)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        with photographed(page, folder / "page.png"):
            page.goto(file.as_uri())
            expect(page.locator("#status")).to_have_text(READY)
            yield SimpleNamespace(page=page, addresses=addresses, said=said)
        context.close()


@pytest.fixture
def page(opened: SimpleNamespace) -> Page:
    """The page, when nothing is being computed."""
    expect(opened.page.locator("#status")).to_have_text(READY)
    return opened.page


def changes(page: Page, place: str, act) -> str:
    """What stands in a place once ``act`` has changed it, and all is computed."""
    before = page.locator(place).text_content()
    act()
    expect(page.locator(place)).not_to_have_text(before)
    expect(page.locator("#status")).to_have_text(READY)
    return page.locator(place).text_content()


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_policy_lets_run_what_stands_in_the_file_and_nothing_else(soup: BeautifulSoup, file: Path):
    policy = soup.select_one("meta[http-equiv]")["content"]
    scripts = [one.text for one in soup.select("script") if not one.get("type")]
    assert policy == playground.policy(soup.style.text, *scripts) and len(scripts) == 2
    assert policy.startswith("default-src 'none';") and "connect-src 'none'" in policy
    assert "unsafe" not in policy and len(re.findall("'sha256-[^']{44}'", policy)) == 3
    names = {name for element in soup.find_all(True) for name in element.attrs}
    assert not [name for name in names if name.startswith("on")] and not names & {"style", "src", "srcset"}
    assert all(link["href"].startswith("#") for link in soup.select("[href]"))
    assert not re.search(r"@import|url\(", soup.style.text)
    assert str(paths.DATA.parent) not in file.read_text()


def test_the_page_holds_the_model_closely_in_half_the_bytes(lm: LM, soup: BeautifulSoup, data: dict, twins):
    whole = sum(2 * tensor.numel() for tensor in playground.weights_of(lm).values())
    kinds = {one["format"] for one in data["index"] if "/" not in one["name"] and one["rows"] > 1}
    texts = playground_content.sample_of_texts(data)
    nats = playground.divergence(lm, playground.weights_of(twins["base"]), texts)
    assert nats <= playground.NATS
    if kinds == {"int8"}:
        size = len(base64.b64decode(soup.select_one("#weights").text))
        adapters = sum(2 * one["rows"] * one["columns"] for one in data["index"] if "/" in one["name"])
        assert size - adapters < 0.52 * whole
    assert data["config"]["context"] == lm.context_length


def test_a_playground_is_written_once_and_replaces_nothing_else(tmp_path: Path, file: Path, monkeypatch):
    monkeypatch.setattr(playground, "page", lambda lm, key: f'{playground.MARK} {key}">')
    out = tmp_path / "new" / "page.html"
    assert playground.write(out) == out and playground.is_one(out) and not playground.is_one(out, "another")
    monkeypatch.setattr(playground, "page", None)  # it would be an error to call it
    assert playground.write(out) == out
    assert playground.is_one(file, "a-key")
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    result = CliRunner().invoke(app, ["playground", "--out", str(mine)])
    assert result.exit_code == 2 and "mine.html: is there, and is no playground" in result.output
    assert mine.read_text() == "<p>mine</p>"


def test_another_architecture_is_refused_by_name(lm: LM):
    config = type(lm.model.config)(**{**lm.model.config.to_dict(), "tie_word_embeddings": False, "hidden_act": "gelu"})
    other = replace(lm, name="other", model=SimpleNamespace(config=config))
    with pytest.raises(playground.UnfitModel, match="other: the playground needs SiLU, tied embeddings"):
        playground.config_of(other)


def test_both_ways_to_store_weights_are_read_back():
    torch.manual_seed(0)
    tensors = {"vector": torch.randn(7), "matrix": torch.randn(5, 8), "small": torch.randn(3, 6)}
    found = playground.unpacked(*playground.packed(tensors, one_byte=("small", "vector")))
    for name in ("vector", "matrix"):
        assert torch.equal(found[name].flatten(), tensors[name].bfloat16().float().flatten())
    assert (found["small"] - tensors["small"]).abs().max() <= tensors["small"].abs().max() / 253
    assert torch.allclose(found["small"], playground.rounded(tensors)["small"])


# --- the model in the page --------------------------------------------------------------------------------------------


def test_the_tokenizer_is_the_models(lm: LM, page: Page, data: dict):
    rng, alphabet = random.Random(0), [*LETTERS, *lm.tokenizer.all_special_tokens]
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(60))) for _ in range(1000)]
    words = " ".join(playground_content.sample_of_texts(data)).split(" ")
    texts += [" ".join(rng.choices(words, k=rng.randrange(1, 20))) for _ in range(1000)]
    found = page.evaluate("texts => texts.map(text => playground.tokenizer.encode(text))", texts)
    assert len(texts) == 2000 and found == [lm.encode(text) for text in texts]
    plain = [text for text in texts if not any(token in text for token in lm.tokenizer.all_special_tokens)]
    again = "texts => texts.map(text => playground.tokenizer.decode(playground.tokenizer.encode(text)))"
    assert page.evaluate(again, plain) == plain


LOGITS = """([id, rows]) => {
    const model = playground.modelNamed(id);
    return rows.map(ids => {
        const cache = model.newCache(), cut = Math.floor(ids.length / 2);
        if (cut) model.forward(ids.slice(0, cut), cache);
        return Array.from(model.forward(ids.slice(cut), cache).at(-1));
    });
}"""


def test_logits_are_those_of_torch(lm: LM, page: Page, data: dict, twins: dict[str, LM]):
    """Fifty prompts read in two parts, one of them as long as the context allows; some of them by every twin."""
    rng = random.Random(0)
    texts = playground_content.sample_of_texts(data)
    rows = [lm.encode(rng.choice(texts))[: rng.randrange(1, 80)] for _ in range(49)]
    rows.append([rng.randrange(lm.vocabulary) for _ in range(min(lm.context_length, 400))])
    for name, model in twins.items():
        some = rows if name == "base" else rows[:5]
        found = np.array(page.evaluate(LOGITS, [name, some]))
        with torch.inference_mode():
            expected = [model.model(torch.tensor([row])).logits[0, -1].numpy() for row in some]
        assert np.abs(found - np.array(expected)).max() <= 1e-4, name
    assert {twin["id"] for twin in data["twins"]} < set(twins)


def test_best_of_n_and_powers_are_the_librarys(page: Page):
    logprobs = [-3.0, -1.0, -2.0, -1.0, -7.5, -2.0, -4.0]
    right = [1, 0, 1, 1, 0, 0, 1]
    shares = page.evaluate("p => p.map((_, i) => playground.bestOf(p, i + 1))", logprobs)
    ns = range(1, len(logprobs) + 1)
    expected = best_of(np.array([logprobs]), np.array([right]), ns)[0]
    assert np.allclose(np.array(shares) @ right, expected) and np.allclose(np.sum(shares, axis=1), 1)
    for alpha in (1, 2.5, 8):
        weights = page.evaluate("([p, alpha]) => playground.powered(p, alpha)", [logprobs, alpha])
        assert np.isclose(np.dot(weights, right), powered(np.array([logprobs]), np.array([right]), alpha)[0][0])


SHARES = "rows => rows.map(row => [...row.querySelectorAll('.bar')].map(bar => +bar.style.getPropertyValue('--share')))"


# --- the panels -------------------------------------------------------------------------------------------------------


def test_a_prompt_is_read_token_by_token(lm: LM, page: Page):
    prompt = page.locator("#read-prompt")
    changes(page, "#read-tokens", lambda: page.select_option("#read-example", index=1))
    prompt.fill("")
    changes(page, "#read-tokens", lambda: prompt.fill("So, kugfu is <b>younger</b> than"))
    assert "<b>" in page.locator("#read-tokens").inner_text()  # text stays text
    assert page.locator(".token").count() == len(lm.encode("So, kugfu is <b>younger</b> than"))
    length = len(prompt.input_value())
    changes(page, "#read-tokens", lambda: page.click("#read-step"))
    assert len(prompt.input_value()) > length
    changes(page, "#read-tokens", lambda: page.locator("#read-next button").first.click())
    chosen = changes(page, "#read-said", lambda: page.locator("#read-tokens").press("ArrowLeft"))
    assert "In the text stands" in chosen and page.locator('.token[aria-selected="true"]').count() == 1
    looked = changes(page, "#read-looked", lambda: page.select_option("#read-head", index=3))
    assert "Layer 1, head 2" in looked
    loss = page.locator("#token-2").get_attribute("title")
    with torch.inference_mode():
        ids = torch.tensor([lm.encode(prompt.input_value())])
        expected = -lm.model(ids).logits[0].log_softmax(-1)[1, ids[0, 2]]
    assert abs(float(re.search(r"loss ([\d.]+)", loss)[1]) - expected) < 0.3


def test_a_text_beyond_the_context_is_refused_in_words(page: Page, lm: LM):
    prompt, status = page.locator("#read-prompt"), page.locator("#status")
    prompt.fill("So " * (lm.context_length + 5))
    expect(status).to_contain_text(f"the model was made for {lm.context_length}")
    prompt.fill("So, kugfu is")
    expect(status).to_have_text(READY)


def test_examples_can_be_added_dropped_moved_and_relabelled(page: Page, data: dict, twins: dict[str, LM]):
    notes, listed = al.load_task("notes"), page.locator("#show-list li")
    start = data["notes"]["start"]
    assert listed.count() == start
    shown = [Labelled(f"s{i}", one["text"], one["label"]) for i, one in enumerate(data["notes"]["pool"][:start])]
    question = Labelled("q", data["notes"]["questions"][0]["text"], data["notes"]["questions"][0]["label"])
    ask = class_prompt(notes, shown, label_mapping="letters")
    assert page.locator("#show-prompt").text_content() == ask(question)[0]
    (scores,) = al.Chooser(twins["base"], ask).answer([question]).options
    total = np.exp([one.logprob for one in scores.values()])
    bars = page.locator("#show-answer tbody tr").evaluate_all(SHARES)
    assert np.allclose(np.array(bars)[:, 0], total / total.sum(), atol=1e-4)

    changes(page, "#show-count", lambda: page.click("#show-add"))
    assert listed.count() == start + 2
    changes(page, "#show-count", lambda: page.click("#show-drop"))
    first = listed.first.locator(".text").inner_text()
    changes(page, "#show-prompt", lambda: listed.nth(1).get_by_role("button", name="up").click())
    assert listed.nth(1).locator(".text").inner_text() == first
    changes(page, "#show-prompt", lambda: page.click("#show-labels"))
    assert page.locator("#show-list .changed").count() > 0
    other = [
        name for name in data["notes"]["mappings"][0]["names"] if name != listed.first.locator("select").input_value()
    ]
    changes(page, "#show-prompt", lambda: listed.first.locator("select").select_option(other[0]))
    changes(page, "#show-prompt", lambda: listed.first.get_by_role("button", name="Remove").click())
    changes(page, "#show-prompt", lambda: page.click("#show-order"))
    changes(page, "#show-prompt", lambda: page.select_option("#show-question", index=1))
    changes(page, "#show-prompt", lambda: page.select_option("#show-names", label="words"))
    changes(page, "#show-prompt", lambda: page.click("#show-reset"))
    assert listed.count() == start and page.locator("#show-curve circle").count() == start + 1


def test_a_fact_is_asked_from_both_ends_of_base_and_twins(page: Page, twins: dict[str, LM]):
    documents = study.one_each(playground_content.world())
    changes(page, "#learn-answer", lambda: page.select_option("#learn-asked", index=2))
    changes(page, "#learn-answer", lambda: page.select_option("#learn-fact", index=1))
    changes(page, "#learn-answer", lambda: page.select_option("#learn-documents", index=1))
    (fact,) = documents[1].facts
    item = next(playground_content._about(fact, "sentence"))
    tables = page.locator("#learn-answer table")
    assert tables.count() == 2
    for number, shown in enumerate(((), documents)):
        rows = tables.nth(number).locator("tbody tr").evaluate_all(SHARES)
        for column, name in enumerate(("base", "documents", "inferences", "distilled")):
            ask = WorldPrompt(shown, lead="So,")
            (scores,) = al.Chooser(twins[name], ask).answer([item]).options
            total = np.exp([one.logprob for one in scores.values()])
            assert np.allclose([row[column] for row in rows], total / total.sum(), atol=1e-3), (name, number)


def test_many_tries_are_weighed_by_their_probability(page: Page, data: dict):
    assert page.locator("#try-said").inner_text().startswith("16 texts.")
    slider = page.locator("#try-n")
    changes(page, "#try-said", lambda: slider.press("End"))
    assert page.locator("#try-n-out").inner_text() == "16 texts"
    changes(page, "#try-said", lambda: page.locator("#try-alpha").press("ArrowRight"))
    assert "32 texts." in changes(page, "#try-said", lambda: page.click("#try-more"))
    changes(page, "#try-texts", lambda: page.select_option("#try-model", "sharpened"))
    pools = page.evaluate(
        "() => Object.fromEntries(Object.entries(playground.tries).map(([n, one]) => [n, one.texts]))"
    )
    assert {name: len(pool) for name, pool in pools.items()} == {"base 0": 32, "sharpened 0": 16}
    problem = data["problems"][0]
    for one in (text for pool in pools.values() for text in pool):
        if one["logprob"] is not None:
            assert one["right"] == (final_answer(one["text"], problem["numbers"]) == problem["answer"]), one


def test_nothing_leaves_the_page_and_nothing_foreign_runs_in_it(opened: SimpleNamespace, page: Page, file: Path):
    """Last: all panels have been used by now, and the console has been silent but for one text that was too long."""
    foreign = """async () => {
        const script = document.createElement("script");
        script.textContent = "globalThis.foreign = true";
        document.body.append(script);
        const tried = await fetch("http://one.example/").then(() => "sent", () => "stopped");
        return [globalThis.foreign ?? "stopped", tried];
    }"""
    said, addresses = list(opened.said), list(opened.addresses)
    assert set(addresses) == {file.as_uri()}
    assert [line for line in said if "the model was made for" not in line] == []
    assert page.evaluate(foreign) == ["stopped", "stopped"]
    assert set(opened.addresses) == {file.as_uri()}
