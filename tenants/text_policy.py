"""What the texts of a tenant's calls may be: whom they go to, how many, with which links.

The model chooses them, and a caller may talk it into any. It does not hold for POST /v1/messages: there the tenant's own program chooses.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
import phonenumbers
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import Invalid
from tenants import audit
from tenants.tables import text_policies

NAME = "default"
MOST_PER_CALL, MOST_PER_DAY = 20, 100  # more is no conversation; what is to be sent in bulk goes by POST /v1/messages
MOST_HOSTS, LONGEST_HOST = 100, 253
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")

Destinations = Literal["caller_or_country", "caller", "countries", "anyone"]


class TextPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom, how many, which links. `countries` are of the mode of that name.

    `country` is the tenant's own where its default sender's number does not tell it; US if nothing does. Limits count accepted texts of
    calls, a day is one of the tenant's zone. `link_hosts`: null lets every link pass, an empty list none.
    """

    destinations: Destinations = "caller_or_country"
    countries: Annotated[tuple[str, ...], msgspec.Meta(max_length=250, examples=[[]])] = ()
    country: Annotated[str | None, msgspec.Meta(examples=["US"])] = None
    texts_per_call: Annotated[int, msgspec.Meta(ge=1, le=MOST_PER_CALL)] = 3
    texts_per_recipient_day: Annotated[int, msgspec.Meta(ge=1, le=MOST_PER_DAY)] = 10
    link_hosts: Annotated[tuple[str, ...] | None, msgspec.Meta(examples=[["example.com"]])] = None


USUAL = TextPolicy()


async def read(connection: AsyncConnection, tenant: TenantId) -> TextPolicy:
    """A tenant's policy; the usual one while nobody has said any."""
    query = select(text_policies.c.setting).where(text_policies.c.tenant_id == tenant, text_policies.c.name == NAME)
    found = (await connection.execute(query)).scalar_one_or_none()
    return USUAL if found is None else msgspec.convert(found, TextPolicy)


async def change(connection: AsyncConnection, tenant: TenantId, actor: str, wanted: TextPolicy) -> TextPolicy:
    """Set all of it; gives it as it is kept: hosts in lower case, in the form that DNS has them.

    Raises:
        Invalid: with every place that cannot be.
    """
    kept = checked(wanted)
    values = {"setting": msgspec.to_builtins(kept), "updated_at": text("app.now()")}
    query = insert(text_policies).values(tenant_id=tenant, name=NAME, **values)
    await connection.execute(query.on_conflict_do_update(index_elements=["tenant_id", "name"], set_=values))
    await audit.record(connection, actor, "text_policy.changed", tenant, None, **msgspec.to_builtins(kept))
    return kept


def checked(wanted: TextPolicy) -> TextPolicy:
    """The policy as it is kept.

    Raises:
        Invalid: it cannot be.
    """
    wrong = [(f"/countries/{place}", NO_COUNTRY) for place, code in enumerate(wanted.countries) if not is_country(code)]
    if wanted.country is not None and not is_country(wanted.country):
        wrong.append(("/country", NO_COUNTRY))
    if (wanted.destinations == "countries") != bool(wanted.countries):
        wrong.append(("/countries", 'Countries are named where "destinations" is "countries", and only there.'))
    hosts = None if wanted.link_hosts is None else [ascii_host(host) for host in wanted.link_hosts]
    wrong += [(f"/link_hosts/{place}", NO_HOST) for place, host in enumerate(hosts or ()) if not is_host(host)]
    if len(hosts or ()) > MOST_HOSTS:
        wrong.append(("/link_hosts", f"At most {MOST_HOSTS} hosts can be listed."))
    if wrong:
        raise Invalid("The request is not valid.", wrong)
    return msgspec.structs.replace(wanted, link_hosts=None if hosts is None else unique(hosts), countries=unique(wanted.countries))


NO_COUNTRY = "Not the two letters of a country with telephones (ISO 3166-1), such as US."
NO_HOST = "Not the name of a host, such as example.com: without https://, path and port."


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """Each once, in their order."""
    return tuple(dict.fromkeys(values))


def is_country(code: str) -> bool:
    """Whether numbers belong to it."""
    return code in phonenumbers.SUPPORTED_REGIONS


def is_host(host: str) -> bool:
    """Whether it has at least a name under a top-level domain."""
    return len(host) <= LONGEST_HOST and HOST.fullmatch(host) is not None


def ascii_host(host: str) -> str:
    """A name of a host as DNS has it: lower case, `xn--` for other scripts, no dot at the end. What is none stays what it is."""
    name = host.lower().removesuffix(".")
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name
