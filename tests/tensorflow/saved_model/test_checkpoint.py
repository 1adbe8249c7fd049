"""What ``saved_model.checkpoint`` reads is what TensorFlow reads, and a broken index does not end the process."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.fork_server import ForkServer

COMPARE = """
    import sys
    import numpy as np
    import tensorflow as tf
    from tfimm_resolver.saved_model.checkpoint import read_tensors

    prefix = sys.argv[1]
    types = [tf.float32, tf.float64, tf.int32, tf.uint8, tf.int16, tf.int8, tf.complex64, tf.int64, tf.bool, tf.bfloat16]
    types += [tf.uint16, tf.complex128, tf.float16, tf.uint32, tf.uint64]
    tensors = {f"types/{kind.name}": tf.cast(tf.reshape(tf.range(6), (2, 3)), kind) for kind in types}
    tensors |= {"text": tf.constant(["a"]), "scalar": tf.constant(3.0), "empty": tf.zeros((0, 3)), "a\\xff\\n": tf.ones(1)}
    tensors |= {f"many/{number:04}": tf.constant(number) for number in range(3000)}  # several blocks
    large = tf.random.normal((300, 7))
    slices = {"300 7 0,100:0,7": large[:100], "300 7 100,200:-": large[100:]}
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[*tensors, *["sliced"] * 2],
        shape_and_slices=[""] * len(tensors) + [*slices],
        tensors=[*tensors.values(), *slices.values()],
    )
    reader, arrays = tf.train.load_checkpoint(prefix), read_tensors(prefix)
    assert {*arrays} == {*reader.get_variable_to_dtype_map()} - {"text"}, {*arrays}
    for name, array in arrays.items():
        expected = reader.get_tensor(name)
        same = np.asarray(expected).dtype, np.shape(expected), np.asarray(expected).tobytes()
        assert (array.dtype, array.shape, array.tobytes()) == same, name
    print(len(arrays))
"""


def test_the_arrays_are_those_that_tensorflow_reads(tmp_path: Path, server: ForkServer) -> None:
    assert server.run(COMPARE, str(tmp_path / "m")).splitlines()[-1] == str(15 + 3 + 3000 + 1)
