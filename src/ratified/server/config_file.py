"""The configuration file: TOML with options by their flag names, or etcd's YAML.

Rules

1. A file is YAML where its name ends in ``.yaml``, ``.yml`` or ``.json``, TOML where it ends in ``.toml``; else its
   first line tells.
2. Keys are the flags' names. etcd's YAML has the options of TLS and of sockets in sections of their own, and times
   without a unit are nanoseconds there, as in etcd's. What is empty or null counts as not set.
3. What is unknown, there twice, or of the wrong kind is an error: a wrong key that is passed over is an option that
   does not hold.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ratified.server.options import NAMES
from ratified.server.readers import time_s
from ratified.server.sources import KNOWN, ConfigError, Given, meant

if TYPE_CHECKING:
    import yaml

_TOML_BEGINS = re.compile(r"[\w.\"'-]+\s*=|\[")
_YAML_SUFFIXES = (".yaml", ".yml", ".json")
_TLS_KEYS = (
    "cert-file",
    "key-file",
    "client-cert-file",
    "client-key-file",
    "client-cert-auth",
    "trusted-ca-file",
    "auto-tls",
)
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "client-transport-security": {
        **{key: key for key in _TLS_KEYS},
        "allowed-hostname": "client-cert-allowed-hostname",
    },
    "peer-transport-security": {
        **{key: f"peer-{key}" for key in _TLS_KEYS},
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
        "skip-client-san-verification": "peer-skip-client-san-verification",
    },
    "socket-options": {"reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"},
}
"""Of etcd's YAML: the flags that their keys are."""
_BOOLEANS_OF_YAML = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def read_file(file: Path) -> dict[str, Given]:
    """What the file says, by flag, as the texts that the flags would have. Raises ``ConfigError``."""
    try:
        content = file.read_text(encoding="utf-8")
    except OSError as wrong:
        raise ConfigError(f"flag --config-file: cannot read {file}: {wrong.strerror}") from wrong
    except UnicodeDecodeError as wrong:
        raise ConfigError(f"{file} is neither TOML nor YAML, it is no text: {wrong}") from wrong
    return dict(_of_yaml(file, content) if _is_yaml(file, content) else _of_toml(file, content))


def _is_yaml(file: Path, content: str) -> bool:
    if file.suffix in (".toml", *_YAML_SUFFIXES):
        return file.suffix != ".toml"
    lines = (line.strip() for line in content.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return bool(first) and _TOML_BEGINS.match(first) is None


# -- TOML


def _of_toml(file: Path, content: str) -> Iterator[tuple[str, Given]]:
    try:
        values = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise ConfigError(f"{file} is not valid TOML: {wrong}") from wrong
    for name, value in values.items():
        if name not in KNOWN:
            raise ConfigError(f"{file}: unknown option {name!r}{meant(name, KNOWN)}")
        yield name, Given(_toml_text(file, name, value), f"{name} in {file}")


def _toml_text(file: Path, name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bool() if name not in NAMES or NAMES[name].is_boolean:
            return str(value).lower()
        case int() if not isinstance(value, bool):
            return str(value)
        case list() if value and all(isinstance(item, str) for item in value):
            return ",".join(value)
    raise ConfigError(f"{name} in {file} must be a string, a whole number or a list of strings")


# -- YAML


def _of_yaml(file: Path, content: str) -> Iterator[tuple[str, Given]]:
    import yaml

    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as wrong:
        raise ConfigError(f"{file} is not valid YAML: {' '.join(str(wrong).split())}") from wrong
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file} is no configuration: write options as lines of the form data-dir: /var/lib/ratified")
    for key, node in _pairs(file, root, "the file"):
        if key in SECTIONS:
            if not isinstance(node, yaml.MappingNode):
                if _text_of(file, key, node) is None:
                    continue
                raise ConfigError(f"{_place(file, key, node)}: it is a section, of keys such as {_some(SECTIONS[key])}")
            for inner, value in _pairs(file, node, key):
                if inner not in SECTIONS[key]:
                    close = meant(inner, SECTIONS[key]) or f"; it may have: {', '.join(SECTIONS[key])}"
                    raise ConfigError(f"{_place(file, key, value)}: unknown key {inner!r}{close}")
                yield from _given(file, SECTIONS[key][inner], f"{key}.{inner}", value)
        elif key in KNOWN:
            yield from _given(file, key, key, node)
        else:
            close = meant(key, (*KNOWN, *SECTIONS)) or "; remove it, or correct its name"
            raise ConfigError(f"{_place(file, key, node)}: unknown option{close}")


def _pairs(file: Path, mapping: yaml.MappingNode, where: str) -> Iterator[tuple[str, yaml.Node]]:
    seen: set[str] = set()
    for key, value in mapping.value:
        if not isinstance(key.value, str):
            raise ConfigError(f"{file}, line {key.start_mark.line + 1}: a list or a section is no name of an option")
        name = key.value
        if name in seen:
            raise ConfigError(f"{_place(file, name, key)}: {where} has it twice: keep one of them")
        seen.add(name)
        yield name, value


def _given(file: Path, name: str, key: str, node: yaml.Node) -> Iterator[tuple[str, Given]]:
    text = _text_of(file, key, node)
    if text is None:
        return
    if name in NAMES:
        if NAMES[name].is_boolean:
            text = _BOOLEANS_OF_YAML.get(text.lower(), text)
        elif NAMES[name].read is time_s and text.isdecimal():
            text = f"{text}ns"
    yield name, Given(text, _place(file, key, node))


def _text_of(file: Path, key: str, node: yaml.Node) -> str | None:
    """None: nothing was said."""
    import yaml

    match node:
        case yaml.ScalarNode():
            return None if node.tag.endswith(":null") or not node.value else str(node.value)
        case yaml.SequenceNode() if all(isinstance(item, yaml.ScalarNode) for item in node.value):
            return ",".join(item.value for item in node.value) or None
    raise ConfigError(f"{_place(file, key, node)}: it must be one value, or a list of values")


def _place(file: Path, key: str, node: yaml.Node) -> str:
    return f"{key} in {file}, line {node.start_mark.line + 1}"


def _some(keys: Mapping[str, str]) -> str:
    return ", ".join([*keys][:2])
