"""X-Twilio-Signature: whether a request comes from Twilio (twilio.com/docs/usage/security, error page 57012).

base64(HMAC(secret, url + name + value of each parameter, sorted by name)). The secret is the primary auth token of the account that
owns the sender and the hash SHA-1, unless the settings header names a SharedKey; with a JSON body the URL alone is signed and
carries the body's hash as `bodySHA256`. No time is signed, so a repeat is not refused here.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Algorithm = Literal["HMAC_SHA1", "HMAC_SHA256"]

SIGNATURE_HEADER = "X-Twilio-Signature"
SETTINGS_HEADER = "X-Twilio-Webhooks-Signature-Settings"
_HASHES = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}
_PORTS = {"https": 443, "http": 80}


def sign(secret: str, url: str, parameters: Iterable[tuple[str, str]] = (), algorithm: Algorithm = "HMAC_SHA1") -> str:
    """The signature that Twilio would send; parameters decoded, blank values and repeated names included."""
    # Twilio's own library counts an equal pair once; what it signs we must reproduce.
    signed = url + "".join(name + value for name, value in sorted(set(parameters)))
    return b64encode(hmac.digest(_bytes(secret), _bytes(signed), _HASHES[algorithm])).decode()


def check(
    url: str,
    signature: str,
    *,
    auth_tokens: Sequence[str],
    parameters: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    settings: str = "",
    shared_keys: Mapping[str, str] | None = None,
) -> bool:
    """Whether Twilio signed a request to `url`, the public address byte for byte (a fragment is never signed).

    Form: `parameters`. JSON: the raw `body`, whose hash must stand in the URL. `auth_tokens`: the old and the new one while a
    token is rotated. `settings`: the settings header; a SharedKey counts only if it is one of `shared_keys` (id to secret).
    Never raises, whatever was sent.
    """
    algorithm = _algorithm(settings)
    if algorithm is None or (body is not None and not _body_matches(url, body)):
        return False
    signed = list(parameters) if body is None else []
    secrets = _secrets(settings, auth_tokens, shared_keys or {})
    return any(_equal(sign(secret, form, signed, algorithm), signature) for secret in secrets for form in _port_forms(url))


def _secrets(settings: str, auth_tokens: Sequence[str], shared_keys: Mapping[str, str]) -> list[str]:
    key = _settings(settings).get("key")
    if key is None:
        return [token for token in auth_tokens if token]
    return [shared_keys[key]] if shared_keys.get(key) else []


def _algorithm(settings: str) -> Algorithm | None:
    match _settings(settings).get("algorithm", "HMAC_SHA1").upper():
        case "HMAC_SHA1":
            return "HMAC_SHA1"
        case "HMAC_SHA256":
            return "HMAC_SHA256"
        case _:
            return None


def _settings(header: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in header.split(","))
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _body_matches(url: str, body: bytes) -> bool:
    try:
        claimed = parse_qs(urlsplit(url).query).get("bodySHA256", [""])[0]
    except ValueError:
        return False
    return _equal(hashlib.sha256(body).hexdigest(), claimed.lower())


def _port_forms(url: str) -> list[str]:
    """The URL with and without its port: Twilio signs either. Everything else stays byte for byte, user and password included."""
    url = url.partition("#")[0]
    scheme, found, rest = url.partition("://")
    if not found:
        return [url]
    end = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    host, colon, port = authority.rpartition(":")
    if colon and port.isdigit():
        return [url, f"{scheme}://{host}{tail}"]
    return [url, f"{scheme}://{authority}:{_PORTS[scheme.lower()]}{tail}"] if scheme.lower() in _PORTS else [url]


def _equal(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(_bytes(ours), _bytes(theirs))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
