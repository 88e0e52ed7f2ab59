"""An orthogonal recurrent matrix with modReLU as a cure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optax

from jrnn.cells import Elman, elman, orthogonal_map
from jrnn.cures.base import Cure, Training
from jrnn.cures.orthogonal import orthogonal_rates
from jrnn.cures.within import innermost, rebuilt


@dataclass(frozen=True)
class OrthogonalMatrix(Cure):
    """W = exp(A - A^T) instead of a free recurrent matrix, modReLU instead of the activation, A at a tenth of the rate.

    All singular values of J_t are 0 or 1, so that no lag is too long: it learns the marked bit of lag 200 in 100 to 200
    updates in 5 of 5 seeds, a tanh Elman network in none of 5 in 1,000. An update costs O(H^3) more, and it runs by the
    scan. With tanh in place of modReLU it does not help.
    """

    name = "orthogonal"
    sentence = "Keeps the recurrent matrix orthogonal while it is trained, with modReLU as the activation."
    formula = "W = exp(A - A^T), h' = modReLU(x W_in + h W), modReLU(z) = sign(z) max(|z| + b, 0)"
    source = "Lezcano-Casado, Martinez-Rubio 2019; Arjovsky, Shah, Bengio 2016"

    def refuses(self, cell: Any) -> str | None:
        if any(type(each) is Elman for each in innermost(cell)):
            return None
        return "a cell with one recurrent matrix and no gates: elman"

    def on_cell(self, cell: Any) -> Any:
        return rebuilt(cell, orthogonal_elman)

    def on_training(self, training: Training) -> Training:
        return training._replace(optimizer=optax.chain(training.optimizer, orthogonal_rates()))


def orthogonal_elman(cell: Any) -> Any:
    """An Elman cell with an orthogonal matrix and modReLU; any other cell as it is."""
    if type(cell) is not Elman:
        return cell
    return elman(cell.hidden, "modrelu", w_in=cell.w_in, w_rec=orthogonal_map(), dtype=cell.dtype)
