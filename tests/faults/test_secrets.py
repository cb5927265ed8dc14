"""Secrets of the environment reach no file, in whatever form they are printed; and nothing else is touched."""

import html
import json
from urllib.parse import quote

import nbformat
import pytest

from adaptlab.runner import execute, provenance, report
from adaptlab.runner.provenance import redact
from tiny import claim, show, use, write

PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "\n".join("MIIEvQIBADANBgkqhkiG9w0B" + c * 20 for c in "ABCD")
    + "\n-----END-----\n"
)
NAMES = (
    "OPENAI_API_KEY HF_TOKEN AWS_SECRET_ACCESS_KEY DB_PASSWORD DB_PASSWD SSH_PASSPHRASE GOOGLE_CREDENTIALS SIGNING_KEY "
    "DATABASE_URL GITHUB_PAT REGISTRY_AUTH SESSION_COOKIE MYSQL_PWD PGPWD SENTRY_DSN LOGIN_JWT SMTP_PASS db_password "
    "PRIVATE_PEM APIKEY GitHub_Token"
).split()
HARMLESS = "PWD OLDPWD PATH HOME MONKEYS AUTHOR PATTERN COOKIES_ALLOWED KEYBOARD SSH_AUTH_SOCK LANG EDITOR".split()


@pytest.fixture
def kit(tmp_path, monkeypatch):
    return use(tmp_path, monkeypatch.setattr)


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_that_is_named_like_a_secret_is_one(monkeypatch, name):
    monkeypatch.setenv(name, "hunter2-value")
    assert redact("said hunter2-value twice: hunter2-value") == f"said [{name}] twice: [{name}]"


@pytest.mark.parametrize("name", HARMLESS)
def test_other_variables_are_no_secrets(monkeypatch, name):
    monkeypatch.setenv(name, "/some/ordinary/value")
    assert redact("/some/ordinary/value") == "/some/ordinary/value"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "PIP_INDEX_URL", "BROKER", "MONGO", "ANYTHING"])
def test_an_address_with_a_password_in_it_is_a_secret_under_any_name(monkeypatch, name):
    monkeypatch.setenv(name, "https://user:pass-word@example.org/x")
    assert redact("at https://user:pass-word@example.org/x") == f"at [{name}]"
    monkeypatch.setenv(name, "https://example.org/x")
    assert redact("at https://example.org/x") == "at https://example.org/x"


FORMS = {
    "plain": str,
    "repr": repr,
    "json": json.dumps,
    "json, every sign": lambda value: json.dumps(value, ensure_ascii=False),
    "html": html.escape,
    "address": lambda value: quote(value, safe=""),
    "indented": lambda value: value.replace("\n", "\n    "),
    "one line": lambda value: " ".join(value.split("\n")),
    "numbered": lambda value: "".join(f"{n}: {line}\n" for n, line in enumerate(value.splitlines())),
    "quoted by a traceback": lambda value: "".join(f"  |  {line}\n" for line in value.splitlines()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value", [PEM, 'pass"word<&>\\ with ünicode', "two\nlines-that-are-long"], ids=["pem", "odd", "two"]
)
def test_every_form_of_a_secret_is_taken_out(monkeypatch, form, value):
    monkeypatch.setenv("MY_SECRET", value)
    said = redact(f"before {FORMS[form](value)} after")
    assert said.startswith("before ") and said.endswith(" after") and "[MY_SECRET]" in said
    assert not any(line in said for line in value.splitlines() if len(line) > 16 and "---" not in line)


def test_a_secret_within_another_leaves_no_rest(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "hunter2-value")
    monkeypatch.setenv("B_TOKEN", "hunter2-value-with-more")
    assert redact("hunter2-value-with-more, hunter2-value") == "[B_TOKEN], [A_TOKEN]"


WORDS = "metadata cell_type nbformat_minor execution_count markdown stylesheet notebooks sentence".split()


def test_passwords_that_are_words_of_the_format_break_nothing(kit, monkeypatch):
    for n, word in enumerate(WORDS):
        monkeypatch.setenv(f"DB{n}_PASSWORD", word)
    rows = [claim("c", sentence=" ".join(WORDS))]
    write("01_tiny", f"print({' '.join(WORDS)!r})", show("claims", model="m", rows=rows))
    index = report.build()
    made = execute.run("01")
    node = nbformat.read(made.path, as_version=4)
    nbformat.validate(node)
    said = " ".join(f"[DB{n}_PASSWORD]" for n in range(len(WORDS)))
    assert node.cells[2].outputs[0].text == f"{said}\n" and made.cached
    facts = json.loads((index.parent / "report.json").read_text())
    assert facts["claims"]["m"][0]["sentence"] == said and said in index.read_text()
    assert provenance.recorded(made.path) == provenance.replace(made, cached=False)


def test_a_key_of_many_lines_reaches_no_file(kit, monkeypatch):
    monkeypatch.setenv("SSH_PRIVATE_KEY", PEM)
    shown = "import os\nkey = os.environ['SSH_PRIVATE_KEY']\nprint(key)\nfor line in key.splitlines(): print(line)\nkey"
    bundle = "from IPython.display import HTML\nHTML('<pre>' + os.environ['SSH_PRIVATE_KEY'] + '</pre>')"
    write(
        "01_tiny", shown, bundle, show("claims", model="m", rows=[claim("c", sentence="KEY")]).replace("'KEY'", "key")
    )
    write("02_fails", "import os\nraise ValueError(os.environ['SSH_PRIVATE_KEY'])")
    execute.run("01")
    with pytest.raises(execute.NotebookFailed) as caught:
        execute.run("02")
    (kit / "notebooks" / "02_fails.ipynb").unlink()
    report.build()
    written = [path.read_text() for path in (kit / "build").rglob("*") if path.is_file()]
    assert len(written) > 6
    for text in (*written, str(caught.value)):
        assert not any(line in text for line in PEM.splitlines() if "---" not in line)
