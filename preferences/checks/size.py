"""How much there is: steps an epoch, and the balance of wanted and unwanted answers."""

from core.contract.finding import Finding
from core.contract.findings import finding, unseen
from preferences.checks.seen import Seen

# A run's own batch makes about so many steps, and has at most so many examples (planning.resolve).
STEPS, LARGEST = 20, 64
# Where the share of one label is beyond this its weight is raised (Ethayarajh et al. 2024, eq. 8).
MOST_APART = 4 / 3


class Size:
    """`batch_size`: examples an optimizer step; None: what a run takes by itself."""

    def __init__(self, batch_size: int | None = None) -> None:
        self._batch = batch_size
        self.usable = 0

    def see(self, seen: Seen) -> None:
        # A tie is trained on only where a job's policy says so.
        self.usable += seen.label is not None or len(set(seen.ranks)) > 1

    def findings(self, repeats: int) -> list[Finding]:
        distinct = self.usable - repeats
        batch = self._batch or max(1, min(LARGEST, distinct // STEPS))
        steps = -(-distinct // batch)
        return [finding("effective_size", steps, count=distinct, share=1.0, detail={"batch_size": batch})]


class Balance:
    """Wanted against unwanted single answers, with the weights that bring both to the same say."""

    def __init__(self) -> None:
        self._wanted = self._unwanted = 0

    def see(self, seen: Seen) -> None:
        self._wanted += seen.label is True
        self._unwanted += seen.label is False

    def findings(self) -> list[Finding]:
        total = self._wanted + self._unwanted
        if not total:
            return []
        if not self._wanted or not self._unwanted:
            return [unseen("label_balance", "All answers have the same label.")]
        share = self._wanted / total
        return [finding("label_balance", share, count=self._wanted, share=share, detail=self.weights())]

    def weights(self) -> dict[str, float]:
        """So that weight x number of the wanted over that of the unwanted is from 1 to 4/3."""
        ratio = self._wanted / self._unwanted
        wanted = unwanted = 1.0
        if ratio > MOST_APART:
            unwanted = ratio / MOST_APART
        elif ratio < 1:
            wanted = 1 / ratio
        return {"desirable_weight": round(wanted, 2), "undesirable_weight": round(unwanted, 2)}
