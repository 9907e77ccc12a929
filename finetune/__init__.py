"""Fine-tuning: a checkpoint and a labelled task in, a score row out.

1. `tasks` knows what a task looks like: its files and columns, its labels, its metrics, its usual settings.
2. `inputs` finds the task's files (the flag, ``$WORDLOOM_DATA``, ``./data``, the hub, or the embedded `sample`); `tsv` and
   `hub` read them strictly and hash every byte. Nothing is trained before every row has been read.
3. `encode` turns rows into ids with the checkpoint's own vocabulary, and refuses a task the vocabulary cannot spell.
4. `train` fits encoder and head: `batches` as a pure function of (seed, epoch), dropout of (seed, step). One seed, one score.
5. `score` sums several seeds up (mean, spread, median, best) and commits ``results/<task>/<run>-<fingerprint8>/score.json``,
   which names the checkpoint, the task data and every setting it came from.

`glue` is the command. A new family of tasks (CLUE, THUCNews, CAIL) is a registry like `tasks` and, where its files are no
tables, a reader like `tsv`; the rest takes `Examples` and does not care where they came from.
"""
