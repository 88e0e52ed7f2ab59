"""Results of every kind that a figure draws, made by hand: no network, no training, numbers that are easy to check."""

from types import SimpleNamespace

import numpy as np

import jrnn
from jrnn import cures
from jrnn.flow import LyapunovSpectrum, WindowSpectrum
from jrnn.flow.dynamics.result import FixedPoints
from jrnn.training import Fitted
from tests.report import samples

T, B = 6, 3
LAGS = np.arange(T + 1)
RATES = np.array([-0.1, -0.3, -0.5])
"""Nats per step of three sequences; the second is the typical one."""


def gradient_flow(reverse=False, **changes):
    """An LSTM's with a loss at steps 5 and 6: output t leaves e^(rate (t - k)) at k; h holds .6 of it and c .8."""
    t, k = np.arange(1, T + 1)[:, None], np.arange(T + 1)
    sent = np.isin(t, (5, 6)) & (k <= t)
    credit = np.where(sent[..., None], np.exp(RATES * np.maximum(t - k, 0)[..., None]), 0.0)
    if reverse:  # output t reads column t - 1, and looks at later times
        credit = credit[::-1, ::-1]
    norms = 2 * np.exp(-0.3 * LAGS)
    fields = dict(
        state_gradients=np.zeros((T + 1, B, 4)),
        credit=credit,
        output_times=np.arange(1, T + 1),
        exact=np.array(True),
        sum_error=np.array(1e-16),
        lag_norms=norms,
        lag_errors=np.zeros(T + 1),
        lag_cosines=np.ones(T + 1),
        lag_shares=norms / norms.sum(),
        lag_gradients=None,
        credit_by_state=jrnn.LSTMState(0.6 * credit, 0.8 * credit),
        lag_norms_by_gate={gate: norms / (i + 1) for i, gate in enumerate("ifgo")},
        state_norms=np.ones((T + 1, B)),
        segments=np.zeros((T + 1, B), int),
        reverse=np.array(reverse),
        parts=None,
    )
    return jrnn.GradientFlow(**(fields | changes))


def lyapunov(k=3):
    """k of 4 exponents in two sequences, -.1, -.2, ... and .1 lower."""
    exponents = -0.1 * np.arange(1, k + 1) - np.array([[0.0], [0.1]])
    counted = np.ones((8, 2), bool)
    return LyapunovSpectrum(
        exponents, np.full((2, k), 0.01), np.tile(exponents, (8, 1, 1)), np.ones((8, 2), int), counted,
        np.ones((2, k), bool), counted, np.full(2, -1), np.full(2, -1), 4,
    )  # fmt: skip


def window_spectrum():
    """Windows of lags 4, 1, 2 and 2 again, two directions of three, in one sequence: -.1 and -.2 nats per step; the
    second of lag 2 is .1 lower."""
    lags = np.array([4, 1, 2, 2])
    logs = lags[:, None, None] * np.array([-0.1, -0.2]) - np.array([0, 0, 0, 0.1])[:, None, None]
    return WindowSpectrum(logs, np.zeros((4, 1)), np.ones((4, 1), bool), np.array(3), lags, 3)


def history(scale=1.0):
    """Five updates, clipped to 1 where the norm is above it; delta measured in three of them."""
    norms = scale * np.array([0.5, 2.0, 1.0, 4.0, 0.8])
    there = np.array([1, np.nan, 1, np.nan, 1])
    return dict(
        loss=scale * np.array([2.0, 1.5, 1.0, 0.8, 0.5]),
        accuracy=np.linspace(0.1, 0.9, 5),
        grad_norm=norms,
        clip_factor=np.minimum(1, 1 / norms),
        clipped=(norms > 1).astype(int),
        skipped=np.zeros(5, int),
        delta_late=0.1 * there,
        delta_early=0.01 * scale * there,
        delta_growth=-0.4 * there,
    )


def fitted(**changes):
    """A run with that history."""
    fields = dict(
        cell=jrnn.gru(3), params={}, loss_params={}, opt_state=None, step=5, history=history(), objective=None,
        interrupted=False, out=None,
    )  # fmt: skip
    return Fitted(**(fields | changes))


def clipping_proof():
    """As `jrnn.clipping_proof` returns it."""
    shown = samples.proof(T + 1)
    own = {name: getattr(shown, name, np.array(0.0)) for name in cures.ClippingProof._fields}
    return cures.ClippingProof(**own)


def stands_for(cell, params, loss_params=None):
    """What `load` returns, as far as `compare` looks."""
    return SimpleNamespace(cell=cell, params=params, loss_params=loss_params)


def fixed_points():
    """A stable point, a saddle and a slow point of two states."""
    diagonals = np.array([[0.5, 0.3], [1.5, 0.3], [1.0, 0.2]])
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]])
    return FixedPoints(
        points, points, np.zeros(3), np.array([True, True, False]), np.stack([np.diag(d) for d in diagonals]),
        diagonals.astype(complex), np.zeros(3), np.arange(3), np.ones(3, int),
    )  # fmt: skip
