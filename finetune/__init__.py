"""Fine-tuning: a checkpoint and a labelled task in, a score row out.

1. `tasks` is the table of tasks: files and columns, labels, metrics, usual settings; `task` says what a task and its rows are.
2. `inputs` finds the task's files (the flag, ``$WORDLOOM_DATA``, ``./data``, the hub, or the embedded `sample`); `gather` reads
   them through `read` (TSV, CSV, JSON lines) and `checks` them; `cail` and `tagged_data` read what is no plain table. Every byte
   is hashed. Nothing is trained before every row has been read.
3. `encode` turns rows into ids with the checkpoint's own vocabulary, and refuses a task the vocabulary cannot spell.
4. `train` fits encoder and head: `batches` as a pure function of (seed, epoch), dropout of (seed, step). One seed, one score.
5. `score` sums several seeds up (mean, spread, median, best) and commits ``results/<task>/<run>-<fingerprint8>/score.json``,
   which names the checkpoint, the task data and every setting it came from.

Commands: `glue`, `clue`, `thucnews`, `cail2019_scm`; `text` and `ner` for rows of one's own. Each finds its task and rows, and
hands both to `options.fine_tune`.
"""
