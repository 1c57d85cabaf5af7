"""Least squares inside a box, for many small problems at once. n = problem, m = condition, k = unknown."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RELEASE = 1e-6
PASSES = 20


def bounded_steps(J: Array, residual: Array, low: Array, high: Array, damping: Array) -> Array:
    """Minimises |J x + residual|^2 + damping |x|^2 over low <= x <= high: an active-set descent.

    Unknowns that a solution drives beyond a limit are held there, and let go when the rest pulls them back. Those that
    have no room are held throughout.

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
    x, held = np.asarray(np.clip(0.0, low, high)), low >= high
    going = np.arange(len(g))
    for _ in range(PASSES):
        if not len(going):
            break
        x[going], held[going], settled = _pass(
            *(H[going], g[going], x[going], held[going]), *(low[going], high[going])
        )
        going = going[~settled]
    return x


def _pass(
    H: Array, g: Array, x: Array, held: NDArray[np.bool_], low: Array, high: Array
) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns x and what is held after one more pass (n, k), and which problems it settled (n,)."""
    x = _free_solution(H, g, x, held)
    beyond = ~held & ((x < low) | (x > high))
    x = np.clip(x, low, high)
    slope = (H @ x[..., None])[..., 0] + g
    pulled = held & np.where(x <= low, slope < -RELEASE, slope > RELEASE)
    pulled &= (low < high) & ~beyond.any(1, keepdims=True)
    held = held | beyond
    most = np.argmax(np.where(pulled, np.abs(slope), 0.0), axis=1)
    rows = np.flatnonzero(pulled.any(1))
    held[rows, most[rows]] = False
    return x, held, np.asarray(~(beyond | pulled).any(axis=1))


def _free_solution(H: Array, g: Array, x: Array, held: NDArray[np.bool_]) -> Array:
    """Solves for the unknowns that are not held, the others staying at x (n, k)."""
    stays = np.where(held, x, 0.0)
    free = ~held
    both = free[:, :, None] & free[:, None, :]
    A = np.where(both, H, np.eye(H.shape[1]))
    b = np.where(free, -(g + (H @ stays[..., None])[..., 0]), stays)
    return np.asarray(np.linalg.solve(A, b[..., None])[..., 0])
