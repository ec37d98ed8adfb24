"""Which pending run a worker takes that has become free."""

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler


class NewestFirst(FIFOScheduler):
    """Gives a free worker a run that lost its worker, else the newest of the pending ones.

    Tune's own order gives it the oldest. That is the one for which a new worker is about to start,
    which Tune then ends: where runs end faster than workers start (short runs, or many slots), a
    node that joins, or a slot whose worker was lost, would never get to work (seen).
    """

    def choose_trial_to_run(self, tune_controller) -> Trial | None:
        pending = (t for t in tune_controller.get_live_trials() if t.status == Trial.PENDING)
        lost = [trial for trial in pending if trial.num_failures]
        if lost:
            return min(lost, key=lambda trial: trial.trial_id)
        newest = reversed(tune_controller.get_trials())
        return next((trial for trial in newest if trial.status == Trial.PENDING), None)
