"""Which pending run a worker takes that has become free."""

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler


class NewestFirst(FIFOScheduler):
    """Gives a free worker a run that lost its worker, else the newest of the pending ones.

    Tune's own order gives it the oldest. That is the one for which a new worker is about to start,
    which Tune then ends: where runs end faster than workers start (short runs, or many slots), a
    node that joins, or a slot whose worker was lost, would never get to work (seen). The choice
    costs the same whether a sweep has ten runs or ten thousand.
    """

    def __init__(self) -> None:
        super().__init__()
        self._new: list[Trial] = []  # pending at its end; inside, some may have begun
        self._lost: list[Trial] = []

    def on_trial_add(self, tune_controller, trial: Trial) -> None:
        """Tune adds a trial that has lost its worker once more."""
        (self._lost if trial.num_failures else self._new).append(trial)

    def choose_trial_to_run(self, tune_controller) -> Trial | None:
        self._lost = [trial for trial in self._lost if trial.status == Trial.PENDING]
        if self._lost:
            return min(self._lost, key=lambda trial: trial.trial_id)
        while self._new and self._new[-1].status != Trial.PENDING:
            self._new.pop()
        return self._new[-1] if self._new else None
