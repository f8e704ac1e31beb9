"""Secrets at rest: sealed when they are read again, keyed hashes when they are only compared.

A sealed value carries the id of its key, so that keys rotate, and is bound to its tenant and column, so that a value
copied into another row does not open (AES-256-GCM, NIST SP 800-38D, with associated data).
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES, NONCE_BYTES = 32, 12


class SealBroken(Exception):
    """The value was not sealed by a key we hold, or not for this tenant and column."""


@dataclass(frozen=True, slots=True)
class Key:
    """One master key and what is derived from it."""

    id: str
    cipher: AESGCM = field(repr=False)
    pepper: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The configured keys, newest first: the first one seals and hashes, all of them open and match."""

    keys: tuple[Key, ...]

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Read "id:base64,id:base64".

        Raises:
            ValueError: with the rest of a sentence that begins with the setting's name.
        """
        keys = []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            key_id, _, encoded = entry.partition(":")
            try:
                material = base64.b64decode(encoded, validate=True)
            except ValueError:  # binascii.Error, or characters outside ASCII
                material = b""
            if not key_id.isalnum() or len(material) != KEY_BYTES:
                raise ValueError("should be id:base64 of 32 random bytes, several joined by commas, newest first.")
            keys.append(Key(key_id, AESGCM(derive(material, b"seal")), derive(material, b"pepper")))
        if not keys:
            raise ValueError("holds no key.")
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("names two keys alike; each needs an id of its own.")
        return cls(tuple(keys))

    def seal(self, plain: str, tenant: UUID, column: str) -> str:
        """Encrypt for one tenant and column; text safe for a column of type text."""
        key, nonce = self.keys[0], secrets.token_bytes(NONCE_BYTES)
        sealed = key.cipher.encrypt(nonce, plain.encode(), bound_to(tenant, column))
        return f"{key.id}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, tenant: UUID, column: str) -> str:
        """Decrypt what `seal` made for the same tenant and column.

        Raises:
            SealBroken: another key, tenant or column, or a changed value.
        """
        key_id, _, encoded = sealed.partition(":")
        try:
            raw = base64.b64decode(encoded, validate=True)
            key = next(key for key in self.keys if key.id == key_id)
            return key.cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound_to(tenant, column)).decode()
        except (StopIteration, InvalidTag, binascii.Error, ValueError) as error:
            raise SealBroken(f"a sealed {column} does not open with the keys at hand") from error

    def digest(self, secret: str) -> bytes:
        """The keyed hash to store for a secret that is only ever compared."""
        return keyed(self.keys[0], secret)

    def digests(self, secret: str) -> list[bytes]:
        """The keyed hashes to look for: one per configured key."""
        return [keyed(key, secret) for key in self.keys]


def keyed(key: Key, secret: str) -> bytes:
    """HMAC-SHA256 under the key's pepper."""
    return hmac.digest(key.pepper, secret.encode(errors="surrogatepass"), hashlib.sha256)


def derive(material: bytes, purpose: bytes) -> bytes:
    """A key of its own for each purpose (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"trunkline/" + purpose).derive(material)


def bound_to(tenant: UUID, column: str) -> bytes:
    """The associated data: whose value it is and where it stands."""
    return tenant.bytes + column.encode()


def new_master_key(key_id: str) -> str:
    """A fresh entry for SECRET_KEYS."""
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"
