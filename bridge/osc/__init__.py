"""OSC over UDP, TCP and WebSocket on one side, the engine's values on the other.

One table of addresses drives dispatch, argument checks, documentation and OSCQuery.
"""
