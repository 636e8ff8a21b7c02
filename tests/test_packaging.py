"""What ships, what is documented, and what may not creep in."""

import ast
import contextlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata, resources
from pathlib import Path

import click
import pytest

from musicvae.cli import VERBS, musicvae

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "src").rglob("*.py"))
SHELL = {"|", "&", "&&", "||", ";", ">"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run_without(blocked: tuple[str, ...], code: str) -> str:
    """Run code in a Python that has none of the blocked packages; return what it prints."""
    block = f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n"
    done = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def block(name: str, text: str) -> list[str]:
    """Return the lines of the fenced block after a marker, as .ci/run reads them."""
    found = re.search(rf"^<!-- {name} -->\n(?:.*\n)*?```sh\n((?:.*\n)*?)```", text, re.MULTILINE)
    return found[1].splitlines() if found else []


def commands(text: str) -> list[list[str]]:
    """Return the musicvae commands of all fenced sh blocks, as arguments."""
    found = []
    for fenced in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in fenced.replace("\\\n", " ").splitlines():
            command: list[str] = []
            for word in [*shlex.split(line, comments=True), ";"]:
                if word not in SHELL:
                    command.append(word)
                    continue
                if command[:1] == ["musicvae"] and not command[1].startswith("-"):
                    found.append(command[1:])
                command = []
    return found


# ----------------------------------------------------------------------------------------------- what ships
def test_types_ship():
    assert resources.files("musicvae").joinpath("py.typed").is_file()


def test_changelog_begins_with_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == metadata.version("musicvae")


def test_every_verb_has_a_module():
    files = {path.stem for path in (ROOT / "src/musicvae/cli").glob("*.py")}
    assert files - {"__init__", "options"} == {verb.replace("-", "_") for verb in VERBS}


# ---------------------------------------------------------------------------------------- what needs what
def test_help_loads_nothing_heavy():
    code = f"""
from click.testing import CliRunner
from musicvae.cli import musicvae
import json
for arguments in ["--help"], *([verb, "--help"] for verb in {list(VERBS)!r}):
    assert CliRunner().invoke(musicvae, arguments).exit_code == 0, arguments
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    loaded = set(json.loads(run_without((), code)))
    assert "musicvae" in loaded
    assert not loaded & {"numpy", "torch", "safetensors", "onnx", "onnxruntime", "symusic", "tqdm"}


def test_base_install_needs_no_torch():
    run_without(
        ("torch", "safetensors", "onnx"),
        "import musicvae\nfor name in musicvae.__all__: getattr(musicvae, name)\n"
        "import musicvae.runtime.onnx, musicvae.data.prepare, musicvae.music.midi, musicvae.evaluate.reconstruction\n"
        "import musicvae.presets, musicvae.codecs.extract\n"
        "import musicvae.evaluate.interpolation, musicvae.evaluate.attributes",
    )


def test_training_needs_only_numpy_torch_and_safetensors():
    run_without(("symusic", "onnxruntime", "onnx", "click", "tqdm"), "import musicvae.train.__main__")


# -------------------------------------------------------------------------------------- what may not creep in
def test_no_file_outgrows_400_lines():
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert lines
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_no_module_is_a_drawer():
    assert not {path.stem for path in MODULES} & {
        "base",
        "common",
        "helper",
        "helpers",
        "manager",
        "misc",
        "util",
        "utils",
    }


def test_nothing_is_pickled():
    banned = {"pickle", "dill", "joblib", "shelve", "marshal", "torch.load", "torch.save", "allow_pickle=True"}
    found = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_bytes())):
            names: set[str | None] = set()
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {node.module}
            elif isinstance(node, ast.Attribute | ast.keyword):
                names = {ast.unparse(node)}
            found |= {(path.name, name) for name in names & banned}
    assert not found


# ------------------------------------------------------------------------------------------------- documents
def test_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_commands_of_the_readme_are_right(arguments: list[str]):
    verb = musicvae.get_command(click.Context(musicvae), arguments[0])
    assert verb is not None
    with contextlib.suppress(click.exceptions.Exit):  # --help
        verb.make_context(arguments[0], arguments[1:])  # raises for an option, a choice or an argument that is wrong


def test_options_of_the_readme_exist():
    ours = "\n".join(line for line in README.splitlines() if not re.search(r"\b(pip|python3?|torchrun) ", line))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", ours))
    verbs = [musicvae.get_command(click.Context(musicvae), verb) for verb in VERBS]
    options = {option for verb in verbs if verb is not None for p in verb.params for option in p.opts}
    assert named <= options | {"--help", "--version"}


def test_ci_runs_the_test_commands_of_the_readme():
    found = block("test", README)
    assert found in ([], ["pip install -c constraints.txt -e '.[dev]'", "pytest"])  # []: .ci/run takes the same two


def test_everything_that_is_asked_for_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    names = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in wanted} - {"musicvae"}
    assert names <= set(re.findall(r"^([\w-]+)==", pins, re.MULTILINE))


def test_the_documents_tell_what_was_measured():
    """Tables and sentences of figures stand as docs/figures.py makes them of the models' files and kept outputs."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "figures.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "nothing to fill\n"), done.stdout + done.stderr
