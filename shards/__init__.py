"""The leaf of Wordloom: data sets on disk, and everything between text and tensors that is numpy only.

1. A **data set** is a folder with a ``manifest.json`` and Arrow shards (`shards.manifest`, `shards.writer`, `shards.reader`).
2. `shards.durable` is the one place that renames, fsyncs or deletes; `shards.lock` keeps two builders apart.
3. `shards.counter` gives random numbers as a function of (key, position); `shards.order` a permutation of any size in O(1).
4. `shards.masks` and `shards.collate` turn stored rows into the arrays of one training batch.
5. `shards.errors` and `shards.cli` are how every command of the project fails and reports.

Imports: the standard library, numpy, pyarrow and fsspec; never paddle, ray or the packages above this one.
"""

__version__ = "0.1.0"
