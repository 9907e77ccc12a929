"""What can go wrong between raw text and samples; each class owns the exit code of the command that meets it.

    shards.errors.WordloomError
    ├── InputError               10   an input that cannot be read as what it says it is
    │   └── EncodingError        11   bytes or characters that are not valid Unicode text
    ├── VocabularyError          12   a vocabulary or tokenizer that cannot be used, or cannot be trained
    ├── HubError                 13   a hub that cannot be reached, or that answers with something else
    ├── CorpusError              14   no corpus where one was looked for
    │   └── EmptyCorpusError     15   a corpus that leaves nothing to build from
    ├── RecipeError              16   a recipe whose options contradict each other, or the data set it is to extend
    ├── EngineError              17   workers that cannot be started, or that died more often than is put up with
    └── StageError               18   a stage that cannot cope with a row it was given

Code 19 is free.
"""

from __future__ import annotations

from shards.errors import WordloomError


class InputError(WordloomError):
    exit_code = 10


class EncodingError(InputError):
    exit_code = 11


class VocabularyError(WordloomError):
    exit_code = 12


class HubError(WordloomError):
    exit_code = 13


class CorpusError(WordloomError):
    exit_code = 14


class EmptyCorpusError(CorpusError):
    exit_code = 15


class RecipeError(WordloomError):
    exit_code = 16


class EngineError(WordloomError):
    exit_code = 17


class StageError(WordloomError):
    exit_code = 18
