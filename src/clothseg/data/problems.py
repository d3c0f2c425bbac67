"""Records of a data set that cannot be used: set aside one by one, each with its id and the reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


class RecordError(Exception):
    """One record cannot be used; the rest can."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """One of few words, by which the report counts."""
        self.detail = detail
        """What is wrong with this one, with its values."""

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True)
class Problem:
    """A record that was set aside."""

    reason: str
    detail: str
    image_id: Any = None
    annotation_id: Any = None
    file_name: str | None = None

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason} ({self.detail})"

    @property
    def subject(self) -> str:
        """What was set aside, as a message calls it."""
        named = {"annotation": self.annotation_id, "image": self.image_id, "file": self.file_name}
        return " of ".join(f"{kind} {value!r}" for kind, value in named.items() if value is not None) or "a record"

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of it as plain values."""
        return {name: value for name, value in asdict(self).items() if value is not None}
