"""Least squares inside a box, for many small problems at once. n = problem, m = condition, k = unknown."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RELEASE = 1e-6
PASSES = 20


def bounded_steps(J: Array, residual: Array, low: Array, high: Array, damping: Array) -> Array:
    """Minimises |J x + residual|^2 + damping |x|^2 over low <= x <= high: an active-set descent.

    Unknowns that a solution drives beyond a limit are held there, and let go when the rest pulls them back.

    Args:
        J: (n, m, k).
        residual: (n, m).
        low: (n, k), <= 0 where the present place is allowed.
        high: (n, k).
        damping: (n,), keeps what no condition decides where it is, and shortens steps.

    Returns:
        x (n, k).
    """
    JT = np.swapaxes(J, 1, 2)
    H = JT @ J
    H[:, np.arange(H.shape[1]), np.arange(H.shape[1])] += damping[:, None]
    g = (JT @ residual[..., None])[..., 0]
    solved, held = np.zeros_like(g), np.zeros(g.shape, bool)
    going, x = np.arange(len(g)), solved
    for _ in range(PASSES):
        x = _free_solution(H, g, x, held)
        beyond = ~held & ((x < low) | (x > high))
        x = np.clip(x, low, high)
        solved[going] = x
        slope = (H @ x[..., None])[..., 0] + g
        pulled = held & np.where(x <= low, slope < -RELEASE, slope > RELEASE)
        pulled &= ~beyond.any(1, keepdims=True)
        held |= beyond
        most = np.argmax(np.where(pulled, np.abs(slope), 0.0), axis=1)
        rows = np.flatnonzero(pulled.any(1))
        held[rows, most[rows]] = False
        more = beyond.any(1) | pulled.any(1)
        if not more.any():
            break
        if not more.all():  # the others would find the same again
            going = going[more]
            H, g, x, held, low, high = (part[more] for part in (H, g, x, held, low, high))
    return solved


def _free_solution(H: Array, g: Array, x: Array, held: NDArray[np.bool_]) -> Array:
    """Solves for the unknowns that are not held, the others staying at x (n, k)."""
    stays = np.where(held, x, 0.0)
    free = ~held
    both = free[:, :, None] & free[:, None, :]
    A = np.where(both, H, np.eye(H.shape[1]))
    b = np.where(free, -(g + (H @ stays[..., None])[..., 0]), stays)
    return np.asarray(np.linalg.solve(A, b[..., None])[..., 0])
