"""Text → samples.

1. A **corpus** (`pipeline.corpora`) names a reader and where its files are looked up (`pipeline.inputs`).
2. A **plan** (`pipeline.plan`) reads every input once and cuts it at document borders into **units**, before any work and
   whatever the number of workers. One unit = one task = one shard.
3. A unit (`pipeline.unit`) goes through: read → clean → split sentences → segment words → tokenize → lay out → write.
   It is a pure function of the unit's bytes and the recipe: run it twice, anywhere, and the bytes are the same.
4. An **engine** (`pipeline.local_engine`, `pipeline.ray_engine`) runs units; `pipeline.builder` commits the data set.
5. `pipeline.clean`, `sentences`, `segment`, `tokenizer`, `encode` are the pure-text half that fine-tuning uses too.

Imports: `shards`; ray only in `pipeline.ray_engine`.
"""
