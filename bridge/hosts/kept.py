"""What the musician accepted is kept on the server too: retention leaves it alone."""

from bridge.client import Client
from bridge.hosts.conductor import Placed
from protos import bridge_pb2


def keep(client: Client, placed: Placed) -> None:
    """Mark the take of a continuation as kept.

    Raises:
        BridgeError: The server is gone, or has no such take.
    """
    client.tag(placed.take_id, bridge_pb2.MARK_KEPT)
