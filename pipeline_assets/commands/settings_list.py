"""Every setting with its value, default, range and meaning, for `pipeline doctor --settings`.

Read off the settings' own model, so that nothing is told twice. Secrets are masked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline_assets.commands.wording import console, plain, print_json, safe
from resources.core.config import PREFIX, PROJECT_ROOT, Settings
from resources.core.redaction import MASK, redact

UNSET = "-"
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
_KINDS = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as a person reads it; `value` and `default` are texts, secrets masked."""

    variable: str
    value: str
    default: str
    type: str
    description: str

    @property
    def is_changed(self) -> bool:
        return self.value != self.default


def every_setting(settings: Settings | None) -> list[Setting]:
    """All settings in the model's order.

    Args:
        settings: Their values; None when they can't be read: then values are what the
            environment says, right or wrong.
    """
    file = str(PROJECT_ROOT / "pipeline.toml")
    config = Setting(
        f"{PREFIX}CONFIG",
        plain(os.environ.get(f"{PREFIX}CONFIG", file), 300),
        file,
        "path",
        "File of settings; the environment goes before it.",
    )
    return [*_of_model(Settings, settings, PREFIX), config]


def show_settings(settings: Settings | None, problem: str | None, *, as_json: bool) -> None:
    """Print all settings; first what is wrong with them, if anything is."""
    found = every_setting(settings)
    if as_json:
        rows = [
            {
                "variable": one.variable,
                "value": None if one.value == UNSET else one.value,
                "default": None if one.default == UNSET else one.default,
                "type": one.type,
                "description": one.description,
            }
            for one in found
        ]
        print_json({"settings": rows, "problem": problem})
        return
    out = console()
    if problem is not None:
        out.print(f"[bold red]fail[/]  {safe(problem, 1_000)}\n", soft_wrap=True)
    for one in found:
        mark = "[bold yellow]" if one.is_changed else "[bold]"
        out.print(f"{mark}{one.variable}[/] = {safe(one.value)}", soft_wrap=True)
        out.print(
            f"    {safe(one.description, 500)} [dim]({one.type}; default {safe(one.default)})[/]",
            soft_wrap=True,
        )


def _of_model(
    model: type[BaseModel], values: BaseModel | None, prefix: str, default: BaseModel | None = None
) -> Iterator[Setting]:
    for name, info in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        own_default = getattr(default, name) if default is not None else info.default
        value = getattr(values, name) if values is not None else None
        section = _model_in(info.annotation)
        if section is not None:
            yield from _of_model(section, value, f"{variable}__", own_default)
            continue
        is_secret = SecretStr in _parts(info.annotation)
        if values is None:
            raw = os.environ.get(variable)
            value = own_default if raw is None else SecretStr(raw) if is_secret else raw
        yield Setting(
            variable, _text(value), _text(own_default), _type(info), info.description or ""
        )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _parts(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(inner for part in get_args(annotation) for inner in _parts(part))
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _parts(get_args(annotation)[0])
    return (annotation,)


def _type(info: FieldInfo) -> str:
    """Kind and range: `integer, at least 1, at most 10000`."""
    part = next(part for part in _parts(info.annotation) if part is not NoneType)
    if part is SecretStr:
        return "secret text"
    if get_origin(part) is tuple:
        return "list, by comma"
    words = [_KINDS.get(part, getattr(part, "__name__", str(part)))]
    for bound in info.metadata:
        words += [
            f"{word} {getattr(bound, key):.15g}"
            for key, word in _BOUNDS
            if isinstance(getattr(bound, key, None), int | float)
        ]
    return ", ".join(words)


def _text(value: Any) -> str:
    if value is None or value == ():
        return UNSET
    match value:
        case SecretStr():
            return MASK
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.15g}"
        case tuple():
            return ",".join(str(each) for each in value)
        case _:
            return redact(plain(value, 300))
