"""Values for Prometheus, in its text exposition format: one group a metric, its HELP and TYPE once before its samples.

https://prometheus.io/docs/instrumenting/exposition_formats/; read by a textfile collector, nothing listens here.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Metrics:
    """Samples, gathered by metric in the order in which each was first named."""

    _heads: dict[str, str] = field(default_factory=dict)
    _samples: dict[str, list[str]] = field(default_factory=dict)

    def counter(self, name: str, what: str, value: float, /, **labels: str) -> None:
        """One value that only rises until its process ends; `name` ends in ``_total``."""
        self._add(name, "counter", what, value, labels)

    def gauge(self, name: str, what: str, value: float, /, **labels: str) -> None:
        self._add(name, "gauge", what, value, labels)

    def _add(self, name: str, kind: str, what: str, value: float, labels: dict[str, str]) -> None:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self._heads.setdefault(name, f"# HELP {name} {what}\n# TYPE {name} {kind}\n")
        self._samples.setdefault(name, []).append(f"{name}{{{inner}}} {value}\n")

    def text(self) -> str:
        return "".join(self._heads.get(name, "") + "".join(lines) for name, lines in self._samples.items())

    def take(self, text: str) -> None:
        """Add what another `text` says, as one link's does: heads that are known already are not said twice."""
        heads: dict[str, str] = {}
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                name = line.split(" ", 3)[2]
                heads[name] = heads.get(name, "") + line + "\n"
            elif line and not line.startswith("#"):
                self._samples.setdefault(line.partition("{")[0].partition(" ")[0], []).append(line + "\n")
        for name, head in heads.items():
            self._heads.setdefault(name, head)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
