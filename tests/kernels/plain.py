"""The recurrences once more, in NumPy loops with gradients by hand: shares no code with jrnn, and compiles nothing."""

import numpy as np


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def gradients(case, operands, events, cotangents):
    """(outcome, gradients of the operands) like those of the kernel, in float64."""
    groups = [group(case, g, operands, events, cotangents) for g in range(case.groups)]

    def stacked(*parts):
        return np.stack(parts)

    import jax

    return jax.tree.map(stacked, *groups)


def group(case, g, operands, events, cotangents):
    """One group: forwards with everything kept, then backwards."""
    import jax

    one = jax.tree.map(lambda a: np.asarray(a)[g], operands)
    n = len(one.start)
    given = [np.asarray(c)[g] for c in cotangents]
    g_states, g_last = given[:n], given[n:]
    t_all, b_all = one.xs.shape[:2]
    flags = {
        name: np.ones((t_all, b_all), bool) if name in ("inside", "valid") else np.zeros((t_all, b_all), bool)
        for name in events._fields
    }
    flags |= {name: np.asarray(f)[g] for name, f in events._asdict().items() if f is not None}
    order = range(t_all)[::-1] if case.scan.reverse[g] else range(t_all)
    state, states, kept = [h.copy() for h in one.start], [np.empty((t_all, *h.shape)) for h in one.start], {}
    for t in order:
        if one.reset_state is not None:
            state = [np.where(flags["resets"][t][:, None], r, h) for r, h in zip(one.reset_state, state)]
        before = state
        after, kept[t] = step(case.kind, one, before, one.xs[t])
        state = [np.where(flags["valid"][t][:, None], a, h) for a, h in zip(after, before)]
        kept[t] |= {"before": before}
        if one.tap is not None:
            state = [h + np.where(flags["inside"][t][:, None], p[t], 0) for h, p in zip(state, one.tap)]
        for all_of, h in zip(states, state):
            all_of[t] = h
    grads = jax.tree.map(np.zeros_like, one)
    delta = [h.copy() for h in g_last]
    for t in reversed(order):
        delta = [d + s[t] for d, s in zip(delta, g_states)]
        if one.tap is not None:
            for tap, d in zip(grads.tap, delta):
                tap[t] = np.where(flags["inside"][t][:, None], d, 0)
        valid = flags["valid"][t][:, None]
        stepped = [np.where(valid, d, 0) for d in delta]
        if case.kind in ("gated", "complex"):
            passed, grads.xs[t] = numbers_back(kept[t]["a"], kept[t]["before"], stepped)
        elif case.kind.startswith("min_gru"):
            (delta_h,), k = stepped, kept[t]
            keep, dz = 1 - k["z"], np.concatenate([k["of_z"] * delta_h, k["of_n"] * delta_h], axis=1)
            passed, grads.xs[t] = [keep * delta_h], dz @ one.weights.w_in.T
            grads.weights.w_in[...] += one.xs[t].T @ dz
            grads.weights.bias[...] += dz.sum(0)
        else:
            passed = with_weights(case, one, grads, t, kept[t], stepped)
        delta = [np.where(valid, p, d) for p, d in zip(passed, delta)]
        resets, cuts = flags["resets"][t][:, None], flags["cuts"][t][:, None]
        if one.reset_state is not None:
            for reset_state, d in zip(grads.reset_state, delta):
                reset_state += np.where(resets, d, 0)
            delta = [np.where(resets, 0, d) for d in delta]
        delta = [np.where(cuts, 0, d) for d in delta]
    for start, d in zip(grads.start, delta):
        start[...] = d
    from jrnn.kernels import Outcome

    return Outcome(tuple(states), tuple(state)), grads


def with_weights(case, one, grads, t, kept, stepped):
    """What passes to the state before; the gradients of the weights and of xs are written to `grads`."""
    passed, dz_x, dz_h = back(case.kind, one, kept, stepped)
    grads.xs[t] = dz_x @ one.weights.w_in.T
    grads.weights.w_in[...] += one.xs[t].T @ dz_x
    grads.weights.bias[...] += dz_x.sum(0)
    grads.weights.w_rec[...] += kept["before"][0].T @ dz_h
    if case.kind == "gru_reset_before":
        candidate = slice(2 * case.units, None)
        grads.weights.w_rec[:, candidate] += kept["gated"].T @ dz_x[:, candidate]
    if case.kind.startswith("leaky"):
        grads.weights.theta[...] += kept["of_theta"].sum(0)
    elif one.weights.bias_rec is not None:
        grads.weights.bias_rec[...] += dz_h[:, -one.weights.bias_rec.shape[0] :].sum(0)
    passed[0] = passed[0] + dz_h @ one.weights.w_rec.T
    return passed


def numbers(parts):
    """Real numbers, or complex ones of two parts."""
    return parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]


def parts_of(array):
    return [array.real, array.imag] if np.iscomplexobj(array) else [array]


def numbers_back(a, before, delta):
    """(delta of the state before, those of a and b side by side) of h' = a h + b."""
    h, d = numbers(before), numbers(delta)
    return parts_of(np.conj(a) * d), np.concatenate([*parts_of(np.conj(h) * d), *parts_of(d)], axis=1)


def step(kind, one, before, x):
    """(the state after, what the way back needs)."""
    h = before[0]
    if kind in ("gated", "complex"):
        half = len(before)
        each = np.split(x, 2 * half, axis=1)
        a = numbers(each[:half])
        return parts_of(a * numbers(before) + numbers(each[half:])), dict(a=a)
    from_x = x @ one.weights.w_in + one.weights.bias
    if kind.startswith("min_gru"):
        z, n = np.split(from_x, 2, axis=1)
        z, low = sigmoid(z), sigmoid(n)
        g, slope = {
            "min_gru": (n, 1),
            "min_gru_tanh": (np.tanh(n), 1 - np.tanh(n) ** 2),
            "min_gru_positive": (np.where(n < 0, low, n + 0.5), np.where(n < 0, low * (1 - low), 1)),
        }[kind]
        return [h + z * (g - h)], dict(z=z, of_z=z * (1 - z) * (g - h), of_n=z * slope)
    from_h = h @ one.weights.w_rec
    if kind == "lstm":
        i, f, g, o = np.split(from_x + from_h, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * before[1] + i * g
        return [o * np.tanh(c), c], dict(i=i, f=f, g=g, o=o, c=c)
    if kind == "gru":
        (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
        r, z, m = sigmoid(xr + hr), sigmoid(xz + hz), hn + one.weights.bias_rec
        n = np.tanh(xn + r * m)
        return [(1 - z) * n + z * h], dict(r=r, z=z, m=m, n=n)
    if kind == "gru_reset_before":
        (xr, xz, xn), (hr, hz, _) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = np.tanh(xn + (r * h) @ one.weights.w_rec[:, 2 * h.shape[1] :])
        return [(1 - z) * n + z * h], dict(r=r, z=z, gated=r * h, n=n)
    if kind.startswith("leaky"):
        (value,), kept = step(kind.removeprefix("leaky_"), one, before, x)
        share = sigmoid(one.weights.theta)
        return [(1 - share) * h + share * value], kept
    value = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0), "identity": lambda v: v}[kind](from_x + from_h)
    return [value], dict(value=value)


def back(kind, one, kept, delta):
    """(what passes around the product, dz beside x, dz beside h)."""
    dh, before = delta[0], kept["before"]
    if kind == "lstm":
        i, f, g, o, squashed = kept["i"], kept["f"], kept["g"], kept["o"], np.tanh(kept["c"])
        dc = delta[1] + dh * o * (1 - squashed**2)
        parts = dc * g * i * (1 - i), dc * before[1] * f * (1 - f), dc * i * (1 - g**2), dh * squashed * o * (1 - o)
        dz = np.concatenate(parts, axis=1)
        return [np.zeros_like(dh), dc * f], dz, dz
    if kind == "gru":
        r, z, m, n = kept["r"], kept["z"], kept["m"], kept["n"]
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * m * r * (1 - r), dh * (before[0] - n) * z * (1 - z)
        return [dh * z], np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz, dn * r], axis=1)
    if kind == "gru_reset_before":
        r, z, n, h = kept["r"], kept["z"], kept["n"], before[0]
        dn, dz = dh * (1 - z) * (1 - n**2), dh * (h - n) * z * (1 - z)
        gated = dn @ one.weights.w_rec[:, 2 * h.shape[1] :].T
        dr = gated * h * r * (1 - r)
        # U_n multiplies no h: its gradient is the caller's
        return [dh * z + gated * r], np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz, 0 * dn], axis=1)
    if kind.startswith("leaky"):
        share = sigmoid(one.weights.theta)
        kept["of_theta"] = dh * (kept["value"] - before[0]) * share * (1 - share)
        _, dz, _ = back(kind.removeprefix("leaky_"), one, kept, [dh * share])
        return [dh * (1 - share)], dz, dz
    slope = {"tanh": lambda v: 1 - v**2, "relu": lambda v: (v > 0) * 1.0, "identity": np.ones_like}[kind]
    dz = dh * slope(kept["value"])
    return [np.zeros_like(dh)], dz, dz
