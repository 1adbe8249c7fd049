"""The command line interface: ``main`` runs one command and returns its exit code."""

from tfimm_resolver.cli.app import main

__all__ = ["main"]
