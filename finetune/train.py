"""One seed's fine-tuning: weights from where the job starts, a head, AdamW with warm-up and a schedule.

Everything random is a function of the seed and of a position: the head's initial weights of (seed), the order of rows of
(seed, epoch), dropout of (seed, step). On a CPU, with the same number of threads, the same seed gives the same weights to the
last bit; another number of threads adds in another order.

The two log lines are, character for character, those of PaddleNLP's GLUE script, so that tools made for its logs read ours.
Losses in them are means: over the window since the last line, and over all dev rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
import paddle

from finetune.batches import Batch, scoring_batches, steps_per_epoch, training_batches
from finetune.encode import EncodedRows
from finetune.initial import Start
from finetune.metrics import evaluate_tags, logged
from finetune.networks import build_network, slow_down_lower_layers
from finetune.score import SeedScore
from finetune.settings import Settings
from finetune.targets import loss_of, predict, width
from finetune.task import Task
from pretrain.checkpoint import Tensors
from pretrain.errors import DivergenceError
from pretrain.optimizer import Optimizer
from pretrain.schedule import Schedule
from pretrain.weights import named_weights
from shards.cli import Interrupted
from shards.counter import Purpose, fold

_SCORING_FACTOR = 4  # no gradients are kept while scoring, so larger batches fit


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One pass over dev rows: mean loss over the rows, the task's metrics, and the figures of the log line."""

    loss: float
    metrics: dict[str, float]
    logged: dict[str, float]


def step_line(step: int, schedule: Schedule, *, epoch: int, batch: int, loss: float, steps_per_s: float) -> str:
    """Return the line of one logging window; `epoch` and `batch` count from 0."""
    return (
        f"global step {step}/{schedule.max_steps}, epoch: {epoch}, batch: {batch}, rank_id: 0, loss: {loss:.6f}, "
        f"lr: {schedule.rate(step):.10f}, speed: {steps_per_s:.4f} step/s"
    )


def eval_line(all_scored: Sequence[Scored], elapsed_s: float) -> str:
    """Return the line of one evaluation: the sets of dev rows one after another, as that script has MNLI's two."""
    sets = (
        f"eval loss: {scored.loss:.6f}, " + "".join(f"{name}: {value}, " for name, value in scored.logged.items())
        for scored in all_scored
    )
    return f"{''.join(sets)}eval done total : {elapsed_s} s"


def _say(text: str) -> None:
    print(text, flush=True)  # a log that is piped should still be live


class FineTuning:
    """One seed: a network that is trained once and scored as often as wanted."""

    def __init__(self, task: Task, start: Start, settings: Settings, seed: int, *, say: Callable[[str], None] = _say) -> None:
        """Build the network. Raises pretrain's errors for weights that do not fit the encoder."""
        self._task, self._settings, self._seed = task, settings, seed
        self._pad_id = start.saved.config.pad_id
        paddle.seed(_paddle_seed(seed, 0))
        self._network = build_network(task, start, settings, say=say)
        slow_down_lower_layers(self._network, start.saved.config.num_layers, settings.layer_decay)
        self._optimizer = Optimizer(self._network, weight_decay=settings.weight_decay, grad_clip=settings.grad_clip)
        self._best_weights: Tensors = {}

    def train(
        self,
        train: EncodedRows,
        dev_sets: Mapping[str, EncodedRows],
        *,
        logging_steps: int,
        stop: Callable[[], int | None] = lambda: None,
        say: Callable[[str], None] = _say,
    ) -> SeedScore:
        """Train over all epochs, or until patience ends, and score on the way; the best evaluation's weights are kept.

        `dev_sets` are named; the first one's name is empty and it decides which evaluation is best, the metrics of the others
        carry their name behind their own. Raises DivergenceError before a non-finite loss or gradient reaches a weight, and
        Interrupted at the end of a step after which `stop` returns a signal.
        """
        settings, primary = self._settings, self._task.metrics[0]
        schedule, per_epoch = settings.schedule(len(train)), steps_per_epoch(len(train), settings.batch_size)
        every = settings.eval_steps or per_epoch
        last: dict[str, float] = {}
        best: tuple[int, dict[str, float]] = 0, {}
        losses: list[float] = []
        without_gain = 0
        since_s = time.perf_counter()
        for step in range(1, schedule.max_steps + 1):
            epoch, number = divmod(step - 1, per_epoch)
            if number == 0:
                batches = training_batches(
                    train, batch_size=settings.batch_size, seed=self._seed, epoch=epoch, pad_id=self._pad_id,
                    window=settings.length_window,
                )  # fmt: skip
            losses.append(self._update(next(batches), step, schedule.rate(step)))
            if (number_of_signal := stop()) is not None:
                raise Interrupted(number_of_signal, f"after step {step}; no score was committed. Run the same command again")
            evaluates = step % every == 0 or step == schedule.max_steps
            if evaluates or step % logging_steps == 0:
                loss, steps_per_s = fmean(losses), len(losses) / (time.perf_counter() - since_s)
                say(step_line(step, schedule, epoch=epoch, batch=number, loss=loss, steps_per_s=steps_per_s))
                if evaluates:
                    last = self._score_all(dev_sets, say)
                    if not best[1] or last[primary] > best[1][primary]:
                        best, without_gain = (step, last), 0
                        self._best_weights = named_weights(self._network)
                    else:
                        without_gain += 1
                losses, since_s = [], time.perf_counter()
            if settings.patience is not None and without_gain >= settings.patience and step < schedule.max_steps:
                say(f"stopped early after step {step}: {without_gain} evaluations since the best one, of step {best[0]}")
                break
        return SeedScore(seed=self._seed, steps=step, last=last, best_dev=best[1], best_dev_step=best[0], train_loss=loss)

    def _score_all(self, dev_sets: Mapping[str, EncodedRows], say: Callable[[str], None]) -> dict[str, float]:
        since_s = time.perf_counter()
        scored = {name: self.score(rows, self._task.metrics_of(name)) for name, rows in dev_sets.items()}
        say(eval_line(list(scored.values()), time.perf_counter() - since_s))
        return {
            f"{metric}_{name}" if name else metric: value for name, one in scored.items() for metric, value in one.metrics.items()
        }

    def _update(self, batch: Batch, step: int, learning_rate: float) -> float:
        """Make one update and return the batch's mean loss."""
        paddle.seed(_paddle_seed(self._seed, step))
        self._network.train()
        outputs_NC = predict(self._network, batch, self._task, self._settings)
        loss = loss_of(self._task, outputs_NC, batch, smoothing=self._settings.label_smoothing)
        value = float(loss)
        self._require_finite(value, f"loss of step {step}")
        loss.backward()
        norm = math.sqrt(self._optimizer.squared_norm().item())
        self._require_finite(norm, f"gradient norm of step {step}")
        self._optimizer.update(norm, learning_rate)
        return value

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise DivergenceError(
                f"the {what} is {value} with seed {self._seed}",
                hint=f"Lower --learning-rate (it was {self._settings.learning_rate:g})",
            )

    def score(self, rows: EncodedRows, metrics: Sequence[str]) -> Scored:
        """Return mean loss and metrics over all rows, without dropout. Raises DivergenceError for a loss that is no number."""
        loss, outputs = self.outputs(rows)
        self._require_finite(loss, "loss over the dev rows")
        if rows.words is not None:
            figures = evaluate_tags(metrics, outputs, rows.words, self._task.labels)
        else:
            figures = logged(metrics, outputs, rows.labels)
        return Scored(loss=loss, metrics={name: figures[name] for name in metrics}, logged=figures)

    def outputs(self, rows: EncodedRows) -> tuple[float, npt.NDArray[np.float32]]:
        """Return the mean loss over all rows, which means nothing for rows without labels, and their outputs, [targets, C]."""
        self._network.eval()
        outputs = np.zeros((rows.targets, width(self._task)), dtype=np.float32)
        loss_sum = 0.0
        size = self._settings.batch_size * _SCORING_FACTOR
        with paddle.no_grad():
            for batch in scoring_batches(rows, batch_size=size, pad_id=self._pad_id):
                found = predict(self._network, batch, self._task, self._settings)
                loss_sum += float(loss_of(self._task, found, batch)) * len(batch.targets_N)
                outputs[batch.targets_N] = found.numpy()
        return loss_sum / max(rows.targets, 1), outputs

    @property
    def parameters(self) -> int:
        """How many numbers the network learns, head included."""
        return sum(int(np.prod(p.shape)) for p in self._network.parameters() if not p.stop_gradient)

    def best_weights(self) -> Tensors:
        """Return the weights at the best evaluation, by structured name."""
        return self._best_weights


def _paddle_seed(seed: int, step: int) -> int:
    return fold(seed, Purpose.DROPOUT, Purpose.FINETUNE, step) >> 1  # paddle wants a signed 64-bit number
