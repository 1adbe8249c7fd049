"""The notebooks' model, a network that reads handwritten digits, and a server for it.

In a clone of the repository it is beside them; in Colab their first cell fetches it.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import numpy as np

# Without this, TensorFlow's native code logs details of the machine into the notebook.
# TensorFlow reads it on import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HOST = "models.example.org"
STEPS, RATE, MOMENTUM = 120, 0.3, 0.9
CHUNK_BYTES = 1024


def read_pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1797 pictures, 8 x 8 pixels from 0 to 1, and their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images / 16).astype("float32"), digits.target


def make_network(hidden: int = 32, seed: int = 0) -> Any:
    """Return a network with one hidden layer, which maps pictures to probabilities."""
    import tensorflow as tf

    random = np.random.default_rng(seed)

    class Network(tf.Module):
        def __init__(self) -> None:
            self.hidden = self._make_weights(64, hidden)
            self.hidden_bias = tf.Variable(tf.zeros(hidden))
            self.output = self._make_weights(hidden, 10)
            self.output_bias = tf.Variable(tf.zeros(10))

        def _make_weights(self, rows: int, columns: int) -> tf.Variable:
            return tf.Variable(random.normal(0, 0.15, (rows, columns)).astype("float32"))

        def score(self, pictures: tf.Tensor) -> tf.Tensor:
            """Return a score for each digit."""
            pixels = tf.reshape(pictures, [-1, 64])
            values = tf.nn.relu(pixels @ self.hidden + self.hidden_bias)
            return values @ self.output + self.output_bias

        # AutoGraph is not needed, and may take a method for a built-in function in
        # a kernel: it compares ids, also with those of objects that are gone.
        @tf.function(
            input_signature=[tf.TensorSpec([None, 8, 8], tf.float32, name="pictures")],
            autograph=False,
        )
        def __call__(self, pictures: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.nn.softmax(self.score(pictures))}

    return Network()


def train(network: Any, pictures: np.ndarray, labels: np.ndarray) -> list[float]:
    """Train a network by gradient descent with momentum; return the loss of each step."""
    import tensorflow as tf

    variables = network.trainable_variables
    speeds = [tf.Variable(tf.zeros_like(weights)) for weights in variables]

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores = network.score(pictures)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables)
        for weights, speed, gradient in zip(variables, speeds, gradients, strict=True):
            speed.assign(MOMENTUM * speed - RATE * gradient)
            weights.assign_add(speed)
        return loss

    return [float(step()) for _ in range(STEPS)]


def pack(network: Any, archive: Path) -> Path:
    """Save a network and pack it as an archive, which replaces an older one at once."""
    import tensorflow as tf

    tf.get_logger().setLevel("WARNING")  # otherwise it logs the temporary directory
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(network, f"{folder}/model", signatures=network.__call__)
        with tarfile.open(f"{folder}/model.tar.gz", "w:gz") as packed:
            packed.add(f"{folder}/model", arcname=".")
        shutil.copy(f"{folder}/model.tar.gz", f"{archive}.new")
    os.replace(f"{archive}.new", archive)
    return archive


class Publisher(ThreadingHTTPServer):
    """A web server on this machine for the files of a folder, which counts what it sends.

    It sets ``TFIMM_RESOLVER_MIRRORS``, and so answers in place of the hosts in handles.
    """

    daemon_threads = True

    def __init__(self, folder: Path, bytes_per_s: float = float("inf")) -> None:
        super().__init__(
            ("127.0.0.1", 0), partial(_RequestHandler, directory=str(folder))
        )
        self.folder, self.bytes_per_s = folder / HOST, bytes_per_s
        self.requests = self.sent_bytes = 0
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        os.environ["TFIMM_RESOLVER_MIRRORS"] = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a client that went away."""


class _RequestHandler(SimpleHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.requests += 1
        super().do_GET()

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:
        """Send a file, at the speed that was asked for."""
        for chunk in iter(partial(source.read, CHUNK_BYTES), b""):
            outputfile.write(chunk)
            self.server.sent_bytes += len(chunk)
            time.sleep(len(chunk) / self.server.bytes_per_s)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the parameter's name in the base class
        pass


def draw_answer(picture: np.ndarray, answers: dict[str, np.ndarray]) -> None:
    """Draw a picture, and beside it a bar chart of the classes for each named answer."""
    from matplotlib import pyplot

    number = len(answers)
    size = (2.4 + 3.6 * number, 2.4)
    _, axes = pyplot.subplots(1, 1 + number, figsize=size, layout="constrained")
    axes[0].imshow(picture, cmap="gray_r")
    axes[0].axis("off")
    for axis, (name, probabilities) in zip(axes[1:], answers.items(), strict=True):
        best = int(np.argmax(probabilities))
        bars = axis.bar(range(10), probabilities)
        bars[best].set_color("tab:orange")
        axis.set(title=f"{name}: {best}", xlabel="digit", xticks=range(10))
        axis.set(ylabel="probability", ylim=(0, 1))
    pyplot.show()


def draw_bytes(versions: dict[str, bytes]) -> None:
    """Draw versions of a file, each byte a pixel; what one of them lacks is red."""
    from matplotlib import pyplot

    width, size_bytes, number = 128, max(map(len, versions.values())), len(versions)
    _, axes = pyplot.subplots(1, number, figsize=(2.2 * number, 2), layout="constrained")
    for axis, (title, content) in zip(axes, versions.items(), strict=True):
        pixels = np.full((-(-size_bytes // width) * width, 3), 255, "uint8")
        pixels[:size_bytes] = (214, 39, 40)
        pixels[: len(content)] = np.frombuffer(content, "uint8")[:, None]
        axis.imshow(pixels.reshape(-1, width, 3), aspect="auto", interpolation="nearest")
        axis.set(title=title, xticks=[], yticks=[])
    pyplot.show()
