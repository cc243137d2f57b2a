"""YAML that remembers on which line each value stands, so that an error can point there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jetvla.runtime.errors import ConfigError

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlSource:
    """A parsed YAML file.

    Attributes:
        path: where it was read from.
        data: plain dictionaries, lists and scalars.
        lines: by location (keys and indices from the root), the 1-based line of the key or item.
    """

    path: Path
    data: Any
    lines: dict[Location, int]

    @classmethod
    def read(cls, path: Path) -> YamlSource:
        """Parse ``path``; ConfigError names the file, the line and the fault."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"cannot read {path}: {error}; save it as UTF-8") from error
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            problem = str(getattr(error, "problem", None) or error)
            remedy = "; YAML takes no tabs, use spaces" if "\\t" in problem else ""
            raise ConfigError(f"{where}: not valid YAML: {problem}{remedy}") from error
        lines: dict[Location, int] = {(): 1}
        if root is not None:
            _collect(root, (), lines, path)
        return cls(path, data, lines)

    def line(self, location: Location) -> int:
        """Line of the deepest part of ``location`` that is in the file.

        Parts that are not in the file, such as the tag of a discriminated union, are skipped.
        """
        found: Location = ()
        for part in location:
            if (*found, part) in self.lines:
                found = (*found, part)
        return self.lines[found]


def _collect(node: yaml.Node, at: Location, lines: dict[Location, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            if here in lines:
                raise ConfigError(
                    f"{path}:{key.start_mark.line + 1}: {'.'.join(map(str, here))} is there twice; remove one"
                )
            lines[here] = key.start_mark.line + 1
            _collect(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            here = (*at, index)
            lines[here] = item.start_mark.line + 1
            _collect(item, here, lines, path)
