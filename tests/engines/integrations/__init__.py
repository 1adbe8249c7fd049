"""Tests of ``tfimm_resolver.integrations`` with the engines themselves."""
