"""One step of each cell in NumPy, from the formulas, unit by unit; shares no code with jrnn.

All weights are named as in the literature and come apart by gate: `gate(w, i)` cuts block i out of a fused matrix.
"""

import math

import numpy as np


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


ACTIVATIONS = {"tanh": math.tanh, "relu": lambda z: max(z, 0.0), "identity": lambda z: z}


def gate(w: np.ndarray, i: int, hidden: int) -> np.ndarray:
    return np.asarray(w)[..., i * hidden : (i + 1) * hidden]


def weighted(w: np.ndarray, x: np.ndarray, j: int) -> float:
    """sum_i x_i w_ij."""
    return math.fsum(float(x[i]) * float(w[i, j]) for i in range(len(x)))


def elman(params, h, x, activation):
    w, u, b = (np.asarray(params[name]) for name in ("w_in", "w_rec", "bias"))
    return np.array([ACTIVATIONS[activation](weighted(w, x, j) + weighted(u, h, j) + b[j]) for j in range(len(h))])


def linear(params, h, x):
    w, a, b = (np.asarray(params[name]) for name in ("w_in", "w_rec", "bias"))
    return np.array([a[j] * h[j] + weighted(w, x, j) + b[j] for j in range(len(h))])


def lstm(params, h, c, x):
    """(h', c'), gates i, f, g, o."""
    size = len(h)
    new_h, new_c = np.zeros(size), np.zeros(size)
    for j in range(size):
        z = [
            weighted(gate(params["w_in"], k, size), x, j)
            + weighted(gate(params["w_rec"], k, size), h, j)
            + gate(params["bias"], k, size)[j]
            for k in range(4)
        ]
        new_c[j] = sigmoid(z[1]) * c[j] + sigmoid(z[0]) * math.tanh(z[2])
        new_h[j] = sigmoid(z[3]) * math.tanh(new_c[j])
    return new_h, new_c


def gru(params, h, x, reset_after):
    """h', gates r, z, n; z keeps the old state."""
    size = len(h)

    def part(name, k):
        return gate(params[name], k, size)

    def opened(k, j):
        return sigmoid(weighted(part("w_in", k), x, j) + weighted(part("w_rec", k), h, j) + part("bias", k)[j])

    r = np.array([opened(0, j) for j in range(size)])
    new = np.zeros(size)
    for j in range(size):
        if reset_after:
            from_h = r[j] * (weighted(part("w_rec", 2), h, j) + np.asarray(params["bias_rec"])[j])
        else:
            from_h = weighted(part("w_rec", 2), r * h, j)
        n = math.tanh(weighted(part("w_in", 2), x, j) + part("bias", 2)[j] + from_h)
        z = opened(1, j)
        new[j] = (1 - z) * n + z * h[j]
    return new


def cornn(params, h, z, x, dt, gamma, epsilon):
    """(h', z'), positions and velocities."""
    new_h, new_z = np.zeros(len(h)), np.zeros(len(h))
    for j in range(len(h)):
        driven = weighted(params["w_in"], x, j) + weighted(params["w_rec"], h, j) + weighted(params["w_vel"], z, j)
        new_z[j] = z[j] + dt * (math.tanh(driven + params["bias"][j]) - gamma * h[j] - epsilon * z[j])
        new_h[j] = h[j] + dt * new_z[j]
    return new_h, new_z


def unicornn(params, h, z, x, dt, alpha):
    """(h', z'); every unit on its own."""
    new_h, new_z = np.zeros(len(h)), np.zeros(len(h))
    for j in range(len(h)):
        s = dt * sigmoid(params["rate"][j])
        driven = params["w_rec"][j] * h[j] + weighted(params["w_in"], x, j) + params["bias"][j]
        new_z[j] = z[j] - s * (math.tanh(driven) + alpha * h[j])
        new_h[j] = h[j] + s * new_z[j]
    return new_h, new_z


def lem(params, h, z, x, dt):
    """(h', z'), blocks a, c, z, h; the last reads the new z."""
    size = len(h)

    def summed(k, j, read):
        from_x = weighted(gate(params["w_in"], k, size), x, j) + gate(params["bias"], k, size)[j]
        return from_x + weighted(gate(params["w_rec"], k, size), read, j)

    a, c = ([dt * sigmoid(summed(k, j, h)) for j in range(size)] for k in (0, 1))
    new_z = np.array([(1 - a[j]) * z[j] + a[j] * math.tanh(summed(2, j, h)) for j in range(size)])
    new_h = np.array([(1 - c[j]) * h[j] + c[j] * math.tanh(summed(3, j, new_z)) for j in range(size)])
    return new_h, new_z


def antisymmetric(params, h, x, epsilon, gamma):
    m = np.asarray(params["w_rec"])
    new = np.zeros(len(h))
    for j in range(len(h)):
        turned = math.fsum(h[i] * (m[i, j] - m[j, i]) for i in range(len(h))) - gamma * h[j]
        new[j] = h[j] + epsilon * math.tanh(turned + weighted(params["w_in"], x, j) + params["bias"][j])
    return new


def indrnn(params, h, x, activation, bound):
    u, w, b = (np.asarray(params[name]) for name in ("w_rec", "w_in", "bias"))
    held = [min(max(u[j], -bound), bound) for j in range(len(h))]
    return np.array([ACTIVATIONS[activation](held[j] * h[j] + weighted(w, x, j) + b[j]) for j in range(len(h))])


CANDIDATES = {"identity": lambda v: v, "tanh": math.tanh, "positive": lambda v: v + 0.5 if v >= 0 else sigmoid(v)}


def from_input(params, x, size, j):
    """x W + b of unit j, block by block."""
    count = np.shape(params["bias"])[0] // size
    return [weighted(gate(params["w_in"], k, size), x, j) + gate(params["bias"], k, size)[j] for k in range(count)]


def min_gru(params, h, x, candidate):
    """h', blocks z, n; z admits the new."""
    new = np.zeros(len(h))
    for j in range(len(h)):
        z, n = from_input(params, x, len(h), j)
        new[j] = (1 - sigmoid(z)) * h[j] + sigmoid(z) * CANDIDATES[candidate](n)
    return new


def min_lstm(params, h, x, candidate):
    """h', blocks f, i, n."""
    new = np.zeros(len(h))
    for j in range(len(h)):
        f, i, n = from_input(params, x, len(h), j)
        f, i = sigmoid(f), sigmoid(i)
        new[j] = (f * h[j] + i * CANDIDATES[candidate](n)) / (f + i)
    return new


def rg_lru(params, h, x):
    """h', blocks i, n, r."""
    new = np.zeros(len(h))
    for j in range(len(h)):
        i, n, r = from_input(params, x, len(h), j)
        a = math.exp(-math.log1p(math.exp(params["decay"][j]))) ** (8 * sigmoid(r))
        new[j] = a * h[j] + math.sqrt(1 - a * a) * sigmoid(i) * n
    return new


def lru(params, h, x):
    """(h', y) with complex h: of the matrices the real parts stand before the imaginary ones."""
    size = len(h)
    w, c = params["w_in"], params["w_out"]
    new = np.zeros(size, complex)
    for j in range(size):
        lam = np.exp(-np.exp(params["nu"][j]) + 1j * np.exp(params["theta"][j]))
        given = sum(x[i] * (w[i, j] + 1j * w[i, size + j]) for i in range(len(x)))
        new[j] = lam * h[j] + np.exp(params["gamma"][j]) * given
    read = [sum(new[j] * (c[j, k] + 1j * c[size + j, k]) for j in range(size)).real for k in range(c.shape[1])]
    return new, np.array([y + weighted(params["skip"], x, k) for k, y in enumerate(read)])


def layer_norm(y, scale, bias, epsilon):
    mean = math.fsum(y) / len(y)
    variance = math.fsum((v - mean) ** 2 for v in y) / len(y)
    return np.array([scale[j] * (y[j] - mean) / math.sqrt(variance + epsilon) + bias[j] for j in range(len(y))])
