"""The training loop: fetch a step's micro-batches, add up gradients, look, update, report, save.

Losses are divided by counts of the whole global batch, which are known once all of its micro-batches are there; so the
gradient of a step is that of one mean over all its tokens (and one over all its pairs), however it was cut up. Before every
forward pass the generator is seeded by (seed, step, rank, micro-batch): dropout has no state to save, and nothing done in
between (evaluation, logging, saving) can change what follows. The host waits for the device once a step, for the norm
and the two losses.

Order within a step: update, log, evaluate, save. A checkpoint therefore holds all that was reported up to its step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from pretrain import log_line
from pretrain.budget import Budget
from pretrain.checkpoint import Checkpoint, Contents, step_folder
from pretrain.checkpoint_writer import CheckpointWriter
from pretrain.distributed import World
from pretrain.early_stopping import is_exhausted
from pretrain.epoch_check import EpochCheck
from pretrain.evaluate import Evaluator
from pretrain.loader import PACKING_KEYS, Loader
from pretrain.objectives import objective_of
from pretrain.optimizer import Optimizer
from pretrain.options import RTD_WEIGHT
from pretrain.plan import Start, TrainingPlan
from pretrain.precision import Precision
from pretrain.probes import Probes, probe_command
from pretrain.recompute import recompute_blocks
from pretrain.reports import Reports
from pretrain.rollback import Rollback
from pretrain.sections import staged_batches
from pretrain.sharding import Sharding
from pretrain.spikes import with_loss
from pretrain.train_state import TrainState, Window
from pretrain.trouble import Trouble, Verdict
from pretrain.utilisation import Work, find_peak, weight_shapes
from pretrain.weights import load_into, named_weights
from shards.counter import Purpose, fold

_SEED_SHIFT = 1  # paddle takes seeds of 63 bits


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a call of `Trainer.run` ended: its last step, the checkpoint there, the signal it stopped for, and figures."""

    step: int
    checkpoint: Checkpoint
    stopped_by: int | None
    figures: Mapping[str, Any]


class Trainer:
    """Trains the network of a plan from a start; see the module docstring. All ranks run the same calls."""

    def __init__(
        self, plan: TrainingPlan, start: Start, world: World, *, tokenizer_files: Mapping[str, bytes], on_gpu: bool = False
    ) -> None:
        config = plan.config
        self.plan, self.world, self._on_gpu, self._tokenizer_files = plan, world, on_gpu, tokenizer_files
        self.state: TrainState = start.state
        paddle.seed(fold(config.seed, Purpose.INIT) >> _SEED_SHIFT)  # all ranks draw the same initial weights
        self.objective = objective_of(config.objective)
        self.network = self.objective.build(plan.network)
        self.network.train()
        if config.recompute:
            recompute_blocks(self.network)
        self.sharding = Sharding(self.network, world if config.sharding else World())
        self.optimizer = Optimizer(
            self.network, weight_decay=config.weight_decay, grad_clip=config.grad_clip, owned=self.sharding.owned
        )
        self._load(start)
        self._precision = Precision(config, on_gpu=on_gpu)
        self._precision.prepare(self.network)
        horizon = self.state.horizon
        self.schedule = plan.schedule if horizon is None else replace(plan.schedule, max_steps=horizon)
        self._save_now = False
        probe = None if config.probe is None else probe_command(config.probe)
        self._probes = Probes(plan.folder, probe, every=config.probe_steps or config.save_steps)
        self._writer = CheckpointWriter(plan.folder, keep=config.keep, written=self._probes.submit, spared=self._spared)
        self.rollback = Rollback(
            plan.folder, world, allowed=config.rollback_on_spike, save_steps=config.save_steps, settle=self._writer.wait
        )
        self.trouble = Trouble(
            plan.folder, plan.data_sets, world, self.optimizer, self.rollback, spike_threshold=config.spike_threshold
        )
        micro_batch = config.micro_batch_on(world.size)
        self.batches = staged_batches(
            plan.sections, plan.batches, micro_batch=micro_batch, rank=world.rank, ranks=world.size, draws=config.rtd
        )
        sampler = self.batches.sampler_of(self.state.step)
        self._epochs = EpochCheck(sampler, world, step=self.state.step, start=self.state.odometer)
        self._evaluator: Evaluator | None = None
        if len(plan.heldout):
            self._evaluator = Evaluator(plan.heldout, plan.batches, self.objective, batch_rows=micro_batch, world=world)
        self._checkpoint = start.checkpoint
        self.reports = Reports(
            plan.folder, world, step=self.state.step, last_step=self.schedule.max_steps,
            work=Work.of(weight_shapes(self.network)), peak=find_peak(config.peak_flops, processes=world.size, on_gpu=on_gpu),
            detects=config.rtd, on_gpu=on_gpu,
        )  # fmt: skip

    def _load(self, start: Start) -> None:
        if start.checkpoint is not None:
            load_into(self.network, start.checkpoint.model(), where=start.checkpoint.path)
            self.optimizer.load(start.checkpoint.optimizer(), where=start.checkpoint.path)
        elif self.plan.init is not None:
            init = self.plan.init
            load_into(self.network, init.weights(), may_lack=init.absent, where=init.path)

    @property
    def weight_count(self) -> int:
        return sum(int(p.size) for p in self.network.parameters())

    def run(self, stop: Callable[[], int | None] = lambda: None) -> Result:
        """Train to the last step, or to the first at whose end `stop` returns a signal; either way, end on a checkpoint.

        Raises DivergenceError before weights that would no longer be finite are made, IntegrityError when an epoch did not
        read every sample, and what the reading of shards raises.
        """
        plan = self.plan
        budget = self._budget()
        begun, first_step = time.perf_counter(), self.state.step
        first, end = (self.batches.first_number(step + 1) for step in (first_step, self.schedule.max_steps))
        loader = Loader(self.batches, first=first, end=end, workers=plan.config.workers)
        stopped_by: int | None = None
        try:
            self._make_up_for_a_probe()
            self.reports.watch.restart(loader.wait_s)
            while self.state.step < self.schedule.max_steps and stopped_by is None and not self._is_exhausted:
                stopped_by = self._step(loader, stop)
                self.reports.advance(self.schedule.max_steps)
                if budget is not None and self.state.horizon is None:
                    self._plan_horizon(budget)
                step, last_step = self.state.step, self.schedule.max_steps
                if step % plan.config.logging_steps == 0 or step == last_step:
                    self._log(loader)
                if step % plan.config.eval_steps == 0 or step == last_step:
                    self.reports.watch.paused(self._evaluate)
                wanted = self._save_now or self._is_turning_point
                if step % plan.config.save_steps == 0 or step == last_step or stopped_by is not None or wanted:
                    self.reports.watch.paused(self._save)
                self._writer.check()
            checkpoint = self._writer.finish() or self._checkpoint
            if self._is_exhausted and self.world.is_first:
                log_line.say(
                    f"stopped early: best held-out loss {self.state.best_evaluation}, {plan.config.patience} evaluations ago"
                )
            if stopped_by is None:
                self._probes.finish(stop)
        except KeyboardInterrupt:
            raise  # at once, without waiting for a disk
        except BaseException:
            self._writer.abandon()
            raise
        finally:
            self._probes.give_up()
            loader.close()
            self.reports.close()
        assert checkpoint is not None
        elapsed_s = time.perf_counter() - begun
        figures = self.reports.figures(self.state, steps=self.state.step - first_step, elapsed_s=elapsed_s, wait_s=loader.wait_s)
        figures["stopped_early"] = self._is_exhausted
        return Result(step=self.state.step, checkpoint=checkpoint, stopped_by=stopped_by, figures=figures)

    def _spared(self) -> frozenset[Path]:
        """Return the checkpoints that are not to be removed now, whatever their age."""
        return self._probes.spared() | self.rollback.spared()

    def _budget(self) -> Budget | None:
        """Return the measure of the time that training may take, from now on; None without a limit, or once it is planned."""
        hours = self.plan.config.max_hours
        if hours is None or self.state.horizon is not None:
            return None
        return Budget(hours, warmup_steps=self.schedule.warmup_steps)

    @property
    def _is_exhausted(self) -> bool:
        """Whether the held-out loss has not fallen for --patience evaluations."""
        config = self.plan.config
        return is_exhausted(self.state.step, self.state.best_evaluation, eval_steps=config.eval_steps, patience=config.patience)

    @property
    def _is_turning_point(self) -> bool:
        """Whether early stopping wants this step kept: the best so far, or the last."""
        best = self.state.best_evaluation
        is_best = best is not None and best["step"] == self.state.step
        return self.plan.config.patience is not None and (is_best or self._is_exhausted)

    def _make_up_for_a_probe(self) -> None:
        """Probe the checkpoint that training starts from, if a run that was killed did not come to it."""
        start = self._checkpoint
        if start is not None and self.world.is_first and start.path == step_folder(self.plan.folder, start.step):
            self._probes.submit(start)

    def _step(self, loader: Loader, stop: Callable[[], int | None]) -> int | None:
        """Do one update; return the signal that some rank was sent, if any."""
        step = self.state.step + 1
        batches = [loader.next() for _ in range(self.batches.micro_batches_of(step))]
        counts, stopped_by = self._add_counts(batches, stop)
        losses = self.backward(step, batches, counts)
        self.world.sum_in_place([*self.optimizer.gradients().values(), losses])
        squared_norm, lm_loss, sop_loss, rtd_loss = paddle.concat([self.optimizer.squared_norm(), losses]).numpy().tolist()
        parts = {"lm_loss": lm_loss, "sop_loss": sop_loss} | ({"rtd_loss": rtd_loss} if self.plan.config.rtd else {})
        loss = lm_loss + sop_loss + RTD_WEIGHT * rtd_loss
        verdict = self.trouble.judge(self.state, batches, losses=parts, loss=loss, squared_norm=squared_norm)
        if verdict is Verdict.UPDATE:
            scale = self.state.scaler.scale
            self.optimizer.update(math.sqrt(squared_norm), self.schedule.rate(step), scale)
            self.sharding.share_weights()
        self._note_update(loss, is_finite=verdict is not Verdict.SKIP)
        if verdict is Verdict.ROLL_BACK and self.rollback.chosen is not None:
            self._roll_back(step, self.rollback.chosen)
        if (sampler := self.batches.sampler_of(step)) is not self._epochs.sampler:
            self._epochs = EpochCheck(sampler, self.world, step=step - 1)  # a section begins, with epochs of its own
        for batch in batches:
            sets = self.batches.own_sets(step, batch["set_index"].numpy())
            self._epochs.add(batch["epochs"].numpy(), sets, batch["sample_ids"].numpy())
        seen = self.plan.sizes.start(step + 1)
        self._epochs.check(step)
        lm_count, pairs, tokens = counts
        is_finite = math.isfinite(loss)
        here = Window(
            lm_sum=lm_loss * lm_count, lm_count=lm_count, sop_sum=sop_loss * pairs, sop_count=pairs,
            rtd_sum=rtd_loss * tokens, rtd_count=tokens,
        )  # fmt: skip
        self.state = replace(
            self.state, step=step, samples_seen=seen, evaluation=None,
            window=self.state.window.plus(here) if is_finite else self.state.window,
        )  # fmt: skip
        self.reports.watch.count(samples=self.plan.sizes.batch_size(step), tokens=tokens)
        return stopped_by if self.world.size > 1 else stop()

    def _note_update(self, loss: float, *, is_finite: bool) -> None:
        """Count an update that was made, or skipped because it was not finite."""
        recent = with_loss(self.state.recent_losses, loss) if math.isfinite(loss) else self.state.recent_losses
        self.state = replace(self.state, scaler=self.state.scaler.after(is_finite=is_finite), recent_losses=recent)

    def _add_counts(
        self, batches: Sequence[dict[str, Any]], stop: Callable[[], int | None]
    ) -> tuple[tuple[int, int, int], int | None]:
        """Return masked tokens, pairs and tokens of the whole global batch, and the signal that any of the ranks was sent."""
        counts = np.sum([batch["counts"].numpy() for batch in batches], axis=0)
        signal_numbers = np.zeros(64, np.int64)
        if self.world.size > 1 and (pending := stop()) is not None:
            signal_numbers[pending] = 1
        total = self.world.sum(np.concatenate([counts, signal_numbers])).tolist()
        sent = [number for number, ranks in enumerate(total[3:]) if ranks]
        return (total[0], total[1], total[2]), sent[0] if sent else None

    def backward(self, step: int, batches: Sequence[dict[str, Any]], counts: tuple[int, int, int]) -> Any:
        """Add the gradients of micro-batches, times the loss scale.

        Returns this rank's share of the (lm, sop, rtd) losses, a tensor [3].
        """
        parts, scale = [], self.state.scaler.scale
        for micro, batch in enumerate(batches):
            names = (*self.objective.keys, *(name for name in PACKING_KEYS if name in batch))
            inputs = {name: self._to_device(batch[name]) for name in names}
            paddle.seed(self._dropout_seed(step=step, micro=micro, rank=self.world.rank))
            with self._precision.forward():
                shares = self.objective.shares(self.network, inputs, counts)
            (shares.loss if scale == 1.0 else shares.loss * scale).backward()
            parts.append(paddle.stack([shares.lm.detach(), shares.sop.detach(), shares.rtd.detach()]))
        return paddle.add_n(parts)

    def _to_device(self, tensor: Any) -> Any:
        return tensor.cuda(blocking=False) if self._on_gpu else tensor

    def _dropout_seed(self, *, step: int, micro: int, rank: int) -> int:
        return fold(self.plan.config.seed, Purpose.DROPOUT, step, rank, micro) >> _SEED_SHIFT

    def _roll_back(self, step: int, checkpoint: Checkpoint) -> None:
        """Take weights, moments and loss scale back to a checkpoint; what was learnt up to `step` since is given up."""
        saved = TrainState.from_json(checkpoint.state(), where=checkpoint.path)
        load_into(self.network, checkpoint.model(), where=checkpoint.path)
        self.optimizer.load(checkpoint.optimizer(), where=checkpoint.path)
        starts = (self.plan.sizes.start(checkpoint.step + 1), self.plan.sizes.start(step + 1))
        left_out = self.rollback.record(step, checkpoint, positions=starts)
        scaler = replace(saved.scaler, skipped_steps=self.state.scaler.skipped_steps)
        rollbacks = self.state.rollbacks + 1
        self.state = replace(self.state, scaler=scaler, recent_losses=saved.recent_losses, rollbacks=rollbacks)
        self._save_now = True
        if self.world.is_first:
            log_line.say(
                f"rolled back to {checkpoint.path.name} ({rollbacks} of {self.plan.config.rollback_on_spike}): the updates of "
                f"steps {checkpoint.step + 1} to {step} are given up, their {left_out['samples_left_out']} samples left out"
            )

    def _plan_horizon(self, budget: Budget) -> None:
        """At the end of the warm-up, fix the last step, as the first rank reckons it."""
        step = self.state.step
        budget.note(step)
        if step < self.schedule.warmup_steps:
            return
        reckoned = budget.last_step(step) if self.world.is_first else 0
        horizon = min(self.schedule.max_steps, int(self.world.sum(np.array([reckoned], np.int64))[0]))
        self.state = replace(self.state, horizon=horizon)
        self.schedule, self._save_now = replace(self.schedule, max_steps=horizon), True
        if self.world.is_first:
            log_line.say(f"time budget: {budget.step_s:.4f} s a step in the warm-up, so the schedule ends at step {horizon:,}")

    def _log(self, loader: Loader) -> None:
        self.reports.log(self.state, learning_rate=self.schedule.rate(self.state.step), wait_s=loader.wait_s)
        self.state = replace(self.state, window=Window())

    def _evaluate(self) -> None:
        if self._evaluator is None:
            return
        with self._precision.forward():
            evaluation = self._evaluator(self.network)
        here = {"step": self.state.step, "loss": evaluation.loss}
        best = self.state.best_evaluation
        better = math.isfinite(evaluation.loss) and (best is None or evaluation.loss < best["loss"])
        self.state = replace(self.state, evaluation=here, best_evaluation=here if better else best)
        self.reports.evaluated(self.state.step, evaluation)

    def _save(self) -> None:
        """Copy the training state to host memory; the first rank has it written while training goes on."""
        self._save_now = False
        step = self.state.step
        self.state = replace(self.state, odometer=self._epochs.so_far())
        self._checkpoint = Checkpoint(path=step_folder(self.plan.folder, step), step=step, fingerprint="")
        optimizer = self.sharding.gather(self.optimizer.state())
        if self.world.is_first:
            contents = Contents(
                step=step,
                model=named_weights(self.network),
                optimizer=optimizer,
                state=self.state.to_json(),
                config=self.plan.network,
                tokenizer_files=self._tokenizer_files,
            )
            self._writer.submit(contents)
