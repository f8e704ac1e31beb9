"""A stand-in for Twilio's Messages API that behaves: queues, signatures, faults. `python -m sandbox.twilio --port N`."""

from sandbox.twilio.server import TwilioSandbox

__all__ = ["TwilioSandbox"]
