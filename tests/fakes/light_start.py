"""Modules that neither an import of the package nor a resolve of a cached model may load."""

HEAVY = {
    *("tensorflow", "numpy", "absl", "requests", "urllib3", "ssl", "rich", "click", "filelock", "isal", "zipfile", "socket"),
    *("tomllib", "tomlkit", "huggingface_hub", "obstore", "botocore", "h5py"),
}
