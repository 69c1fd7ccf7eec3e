"""Streakline's client: hand an app's events to the workers, and nothing else.

from streakline import Client, Event

client = Client("redis://localhost:6379/0")
receipt = client.track("user-1", "lessons", key="lesson-812")
"""

from streakline.aio import AsyncBuffer, AsyncClient
from streakline.buffer import Buffer
from streakline.client import Client, Receipt
from streakline.contract import Event, UserFields
from streakline.errors import (
    AddressError,
    BrokerUnavailable,
    InvalidEvent,
    QueueFull,
    StreaklineError,
)

__all__ = [
    "AddressError",
    "AsyncBuffer",
    "AsyncClient",
    "BrokerUnavailable",
    "Buffer",
    "Client",
    "Event",
    "InvalidEvent",
    "QueueFull",
    "Receipt",
    "StreaklineError",
    "UserFields",
]
