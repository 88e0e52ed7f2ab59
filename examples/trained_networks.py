"""How far back the gradient of trained networks reaches, networks that people run every day.

g2p-en says how English words are pronounced, g2pM how Chinese characters are read, silero-vad whether somebody speaks.
Their weights come with ordinary packages, which are not part of jrnn; what is not installed is passed over. For each
network: how much of an output's gradient arrives so many steps before it, and the last lag at which 1 % does. The loss
is the network's own: -log p of what it says itself (silero-vad: the logit of speech).

Run: pip install "jrnn[trained]" && pip install --no-deps silero-vad==6.2.3
     python examples/trained_networks.py [--short]
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn
from jrnn.extras import package_file
from jrnn.interop import trained

SHORT = "--short" in sys.argv
LAGS = (1, 2, 4, 8, 16, 32, 64)
WORDS = """antidisestablishmentarianism electroencephalographically counterrevolutionaries uncharacteristically
incomprehensibilities internationalization professionalization telecommunications misinterpretation responsibilities
acknowledgement disproportionate straightforward parallelogram thermodynamics recurrence"""
LAOZI = """道可道非常道名可名非常名无名天地之始有名万物之母故常无欲以观其妙常有欲以观其徼
此两者同出而异名同谓之玄玄之又玄众妙之门天下皆知美之为美斯恶已皆知善之为善斯不善已
有无相生难易相成长短相较高下相倾音声相和前后相随是以圣人处无为之事行不言之教
万物作焉而不辞生而不有为而不恃功成而弗居夫唯弗居是以不去"""


def show(name, cell, params, xs, loss, lag, unit, **options):
    """Follows every output's gradient back and prints what arrives."""

    @jax.jit
    def followed(params, xs):
        return jrnn.gradient_flow(cell, params, xs, loss, lag_gradients=False, **options)

    flow = followed(params, xs)
    verdict, longest = flow.verdict(lag), min(len(xs) - 1, 64)
    arrives = ", ".join(f"lag {back}: {flow.verdict(back).arriving:.2g}" for back in LAGS if back <= longest)
    low, high = verdict.arriving_interval
    print(f"\n{name}, {type(cell).__name__}, {cell.hidden} units; {xs.shape[1]} sequences of up to {len(xs)} {unit}s")
    print(f"  arrives: {arrives}; at lag {lag} {low:.2g} to {high:.2g} at {verdict.level:.1%} confidence")
    print(f"  {verdict.kind}: 1 % reaches {'at least ' if verdict.reach_is_bound else ''}{verdict.reach} {unit}s back")


def log_loss(logits, answers, counted):
    """-log p of the answers, summed over what counts."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, answers)
    return jnp.sum(jnp.where(counted, losses, 0.0))


def pronunciation():
    """g2p-en: the encoder hands its last state to the decoder, which says one phoneme after the other."""
    encoder, decoder = trained.g2p_en("encoder"), trained.g2p_en("decoder")
    words = WORDS.split()[: 4 if SHORT else None]
    lengths = np.array([len(word) + 1 for word in words])
    letters = np.zeros((max(lengths), len(words)), int)
    for i, word in enumerate(words):
        letters[: lengths[i], i] = [encoder.symbols[letter] for letter in [*word, "</s>"]]
    read = encoder.embedding[letters]
    last = jrnn.unroll(encoder.cell, encoder.params, read, lengths=lengths).final_state

    # what the decoder says, until </s> (3)
    step = jax.jit(lambda h, x: jrnn.step(decoder.cell, decoder.params, h, x))
    said, state = [np.full(len(words), 2)], last
    while len(said) <= max(lengths) and not np.all(np.any(np.array(said) == 3, axis=0)):
        state, y = step(state, decoder.embedding[said[-1]])
        said.append(np.argmax(decoder.head(y), axis=-1))
    spoken, answers = decoder.embedding[np.array(said[:-1])], jnp.asarray(said[1:])
    phonemes = np.argmax(np.array(answers) == 3, axis=0) + 1
    counted = np.arange(len(answers))[:, None] < phonemes

    def answer(run):  # the error of the pronunciation, as a function of what the encoder handed over
        after = jrnn.unroll(decoder.cell, decoder.params, spoken, initial_state=run.final_state)
        return log_loss(decoder.head(after.outputs), answers, counted)

    def each(run):
        return log_loss(decoder.head(run.outputs), answers, counted)

    options = dict(initial_state=last, lengths=jnp.asarray(phonemes))
    show("g2p-en's encoder", encoder.cell, encoder.params, read, answer, 8, "letter", lengths=jnp.asarray(lengths))
    show("g2p-en's decoder", decoder.cell, decoder.params, spoken, each, 8, "phoneme", **options)


def readings():
    """g2pM: each direction of a bidirectional LSTM, with the other one as it is."""
    model = trained.g2pm()
    text = "".join(LAOZI.split())
    size = 12 if SHORT else 32
    parts = [text[i : i + size] for i in range(0, len(text) - size + 1, size)]
    codes = np.array([[model.symbols.get(character, model.symbols["<UNK>"]) for character in part] for part in parts]).T
    xs = model.embedding[codes]
    ys = jrnn.unroll(model.cell, model.params, xs).outputs
    answers, hidden = jnp.argmax(model.head(ys), axis=-1), model.cell.forward.hidden
    for name, cell in (("forward", model.cell.forward), ("backward", model.cell.backward)):
        back = name == "backward"

        def loss(run, back=back):
            own = run.outputs[::-1] if back else run.outputs
            both = [ys[..., :hidden], own] if back else [own, ys[..., hidden:]]
            return log_loss(model.head(jnp.concatenate(both, axis=-1)), answers, True)

        show(f"g2pM, {name}", cell, model.params[name], xs[::-1] if back else xs, loss, 8, "character")


def voice(base, frames):
    """Something like a voice of this pitch in Hz, at 16 kHz: vowels that glide into each other, four a second."""
    draws, time = np.random.default_rng(int(base)), np.arange(frames * 512) / 16000
    formants = np.array([[700, 1220, 2600], [300, 2300, 3000], [400, 800, 2400], [530, 1840, 2480]])
    vowels = draws.integers(0, 4, int(4 * time[-1]) + 2)
    places = [np.interp(4 * time, np.arange(len(vowels)), formants[vowels, i]) for i in range(3)]
    pitch = base * (1 + 0.12 * np.sin(2 * np.pi * 0.6 * time)) + 0.002 * draws.normal(size=len(time)).cumsum()
    sound = np.zeros(len(time))
    for n in range(1, int(4000 / base)):
        loud = sum(a / (1 + ((n * pitch - f) / w) ** 2) for f, a, w in zip(places, (1, 0.5, 0.25), (80, 100, 140)))
        sound += loud * np.sin(2 * np.pi * n * np.cumsum(pitch) / 16000) / np.sqrt(n)
    sound *= np.clip(np.sin(2 * np.pi * 4 * time) + 0.6, 0, 1) * (np.sin(2 * np.pi * 0.4 * time) > -0.6)
    return 0.3 * sound / np.abs(sound).max() + 0.001 * draws.normal(size=len(time))


def speech():
    """silero-vad: voices that come and go, in frames of 32 ms, each with the 64 samples before it."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = trained.silero_vad()
    frames = 32 if SHORT else 128
    # the convolutions below the LSTM, by ONNX's own evaluator
    graph = onnx.load(package_file("silero_vad", "data/silero_vad_16k_sequence.onnx"))
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info("/Transpose_output_0"))
    zero, features, heard = np.zeros((1, 1, 128), np.float32), [], []
    for base in (100, 120, 150, 180, 210, 240)[: 2 if SHORT else None]:
        sound = np.pad(voice(base, frames), (64, 0)).astype(np.float32)
        each = np.stack([sound[i * 512 : i * 512 + 576] for i in range(frames)])
        probability, _, _, xs = ReferenceEvaluator(graph).run(None, {"input": each, "h": zero, "c": zero})
        features.append(xs)
        heard.append(probability > 0.5)
    xs = jnp.asarray(np.concatenate(features, axis=1))
    show("silero-vad", model.cell, model.params, xs, lambda run: jnp.sum(model.head(run.outputs)), 16, "frame")
    print(f"  (a frame is 32 ms; speech in {np.mean(heard):.0%} of them, it says)")


for network in (pronunciation, readings, speech):
    try:
        network()
    except jrnn.InputError as error:
        print(f"\n{network.__doc__.partition(':')[0]} is passed over: {error}")
