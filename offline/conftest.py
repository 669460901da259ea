"""Containers, as tests/docker has them."""

from tests.docker.conftest import daemon, offline_images, start, volume, volumes

__all__ = ["daemon", "offline_images", "start", "volume", "volumes"]
