"""What the scene room says when it cannot do what it was asked."""

from __future__ import annotations

from SegHiResCAMLib.plain_text import plain


class SceneError(Exception):
    """Something the user can understand and mend, as one sentence: what is wrong, where, and what to do."""

    def __init__(self, sentence: str) -> None:
        sentence = plain(sentence)  # it quotes names out of files
        super().__init__(sentence)
        self.sentence = sentence
