"""How records of one stream are handed out: pure, without a loop, a clock or a network.

Attached runs drive it from asyncio's loop and a subscription; managed runs from their own loop and their log.
"""

from midstream.receiving.ack_tracker import AckTracker
from midstream.receiving.buffer import Receive, StreamBuffer
from midstream.receiving.handler_queue import HandlerQueue
from midstream.receiving.receiver import Inbox, Receiver
from midstream.receiving.result import NotReceived, Received, ReceiveTimeout, Result

__all__ = [
    "AckTracker",
    "HandlerQueue",
    "Inbox",
    "NotReceived",
    "Receive",
    "ReceiveTimeout",
    "Received",
    "Receiver",
    "Result",
    "StreamBuffer",
]
