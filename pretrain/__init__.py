"""Pretraining: data sets in, checkpoints out.

1. `pretrain.environment` prepares the process (threads, allocator, device) and only then imports paddle.
2. `pretrain.config` says how large a network is; `pretrain.roformer` is the encoder, `pretrain.heads` what stands on it.
3. `pretrain.run` draws batches as a function of (seed, step), takes the losses of `pretrain.heads` over the global batch,
   and writes checkpoints (`pretrain.checkpoint`) whose tensors are safetensors files (`pretrain.weights`).
4. `pretrain.fill_mask` reads a checkpoint back and shows what it has learnt.
5. `pretrain.errors` is the tree of what can go wrong on the way.

Imports: shards and paddle. The training path loads neither pipeline nor a segmenter nor ray.
"""
