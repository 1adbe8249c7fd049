"""models.config is a ModelServerConfig in protobuf's text format, and what is published can be loaded.

The messages are those of tensorflow_serving/config/model_server_config.proto that the file uses, with their numbers;
tensorflow-serving-api 2.21 was seen to read the same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from tests.fakes.archives import REAL
from tfimm_resolver.integrations import serving

STRING, MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
ONE, MANY = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL, descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
MESSAGES = {
    "ModelConfig": [("name", 1, STRING, ONE, ""), ("base_path", 2, STRING, ONE, ""), ("model_platform", 4, STRING, ONE, "")],
    "ModelConfigList": [("config", 1, MESSAGE, MANY, "ModelConfig")],
    "ModelServerConfig": [("model_config_list", 1, MESSAGE, ONE, "ModelConfigList")],
}


@pytest.fixture(scope="module")
def config_class() -> Any:
    """The class of the message."""
    file = descriptor_pb2.FileDescriptorProto(name="model_server_config.proto", package="serving", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            message.field.add(name=field, number=number, type=kind, label=label, type_name=f".serving.{of}" if of else None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.ModelServerConfig"))


def test_models_config_is_read_by_protobuf(config_class: Any, tmp_path: Path) -> None:
    names = ["half", 'with "quotes" and ünïcode']
    for name in names:
        (tmp_path / name / "1").mkdir(parents=True)
    text = Path(serving.write_models_config(tmp_path, names, base_path="/models")).read_text()
    config = text_format.Parse(text, config_class())
    found = [(one.name, one.base_path, one.model_platform) for one in config.model_config_list.config]
    assert found == [(name, f"/models/{name}", "tensorflow") for name in names]


def test_a_published_version_is_loaded(tmp_path: Path) -> None:
    published = serving.publish(REAL, tmp_path / "half", layout="tf-serving")
    loaded = tf.saved_model.load(published.path)
    assert loaded is not None and Path(published.path).name == "1"
