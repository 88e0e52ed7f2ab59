"""Weights between jrnn's documented layout and PyTorch's modules, in both directions; an oracle for the tests only.

w_in = weight_ih^T and w_rec = weight_hh^T in equal gate order; bias = bias_ih + bias_hh, but for the GRU's candidate n:
bias holds bias_ih and bias_rec holds bias_hh.
"""

from __future__ import annotations

import numpy as np


def names(module):
    """Per layer and direction the suffix of PyTorch's parameter names."""
    sides = ("", "_reverse") if module.bidirectional else ("",)
    return [[f"_l{layer}{side}" for side in sides] for layer in range(module.num_layers)]


def nested(module, parts):
    """[layers][directions] -> the pytree that jrnn has for the same network."""
    layers = [dict(zip(("forward", "backward"), one)) if module.bidirectional else one[0] for one in parts]
    return layers[0] if len(layers) == 1 else tuple(layers)


def flat(module, params):
    """The inverse of `nested`."""
    layers = (params,) if module.num_layers == 1 else params
    return [[one["forward"], one["backward"]] if module.bidirectional else [one] for one in layers]


def from_torch(module, of=lambda p: p):
    """jrnn parameters from the module's; `of` picks what to read (the gradient, say)."""

    def one(suffix):
        w_ih, w_hh, b_ih, b_hh = (
            of(getattr(module, f"{kind}{suffix}")).detach().numpy()
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        params = {"w_in": w_ih.T.copy(), "w_rec": w_hh.T.copy(), "bias": b_ih + b_hh}
        if module.mode == "GRU":
            hidden = module.hidden_size
            params["bias"][2 * hidden :] = b_ih[2 * hidden :]
            params["bias_rec"] = b_hh[2 * hidden :].copy()
        return params

    return nested(module, [[one(suffix) for suffix in layer] for layer in names(module)])


def to_torch(torch, module, params, seed):
    """Copies jrnn parameters into the module; the sum of two biases is split at random."""
    rng = np.random.default_rng(seed)
    for layer, own in zip(names(module), flat(module, params), strict=True):
        for suffix, one in zip(layer, own, strict=True):
            second = rng.normal(size=one["bias"].shape)
            first = np.asarray(one["bias"]) - second
            if module.mode == "GRU":
                hidden = module.hidden_size
                first[2 * hidden :] = one["bias"][2 * hidden :]
                second[2 * hidden :] = one["bias_rec"]
            values = {"weight_ih": one["w_in"].T, "weight_hh": one["w_rec"].T, "bias_ih": first, "bias_hh": second}
            with torch.no_grad():
                for kind, value in values.items():
                    getattr(module, f"{kind}{suffix}").copy_(torch.tensor(np.array(value)))


def gradients(module):
    """The module's parameter gradients as jrnn has them: a sum of two biases has the gradient of either."""
    grads = from_torch(module, lambda p: p.grad)
    hidden = module.hidden_size
    for layer, own in zip(names(module), flat(module, grads), strict=True):
        for suffix, one in zip(layer, own, strict=True):
            first, second = (getattr(module, f"{kind}{suffix}").grad.numpy() for kind in ("bias_ih", "bias_hh"))
            if module.mode == "GRU":
                np.testing.assert_allclose(first[: 2 * hidden], second[: 2 * hidden], rtol=1e-12)
            else:
                np.testing.assert_allclose(first, second, rtol=1e-12)
            one["bias"] = first
    return grads
