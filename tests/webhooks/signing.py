"""Signs as Vapi's credential says, written from its description and from nothing of ours."""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

BLOCKS = {"sha1": 64, "sha256": 64, "sha512": 128}


@dataclass
class Signer:
    """An HMAC credential: its options under the names of our HTTP contract, and its secret."""

    secret: str
    options: dict[str, Any] = field(default_factory=dict)

    def option(self, name: str, default: Any) -> Any:
        return self.options.get(name, default)

    def headers(self, body: bytes, timestamp: str, url: str = "", message_id: str = "") -> dict[str, str]:
        """The headers of one delivery."""
        dated = self.option("include_timestamp", True)
        payload_format = self.option("payload_format", "{timestamp}.{body}" if dated else "{body}")
        filled = payload_format.replace("{timestamp}", timestamp).replace("{method}", "POST").replace("{url}", url)
        before, after = filled.replace("{svix-id}", message_id).split("{body}")
        digest = self.hmac(before.encode() + body + after.encode())
        text = digest.hex() if self.option("signature_encoding", "hex") == "hex" else base64.b64encode(digest).decode()
        headers = {self.option("signature_header", "x-signature"): self.option("signature_prefix", "") + text}
        if dated:
            headers[self.option("timestamp_header", "x-timestamp")] = timestamp
        if self.option("message_id_header", ""):
            headers[self.option("message_id_header", "")] = message_id
        return headers

    def hmac(self, payload: bytes) -> bytes:
        """HMAC by RFC 2104, section 2, out of nothing but the hash."""
        name = self.option("algorithm", "sha256")
        key = base64.b64decode(self.secret) if self.option("secret_is_base64", False) else self.secret.encode()
        size = BLOCKS[name]
        key = (key if len(key) <= size else hashlib.new(name, key).digest()).ljust(size, b"\0")
        inner = hashlib.new(name, bytes(byte ^ 0x36 for byte in key) + payload).digest()
        return hashlib.new(name, bytes(byte ^ 0x5C for byte in key) + inner).digest()
