"""What can happen at a step. Each falls at once; what died is started again by House.mend."""

from collections.abc import Callable, Mapping

from tests.faults.house import House


def kill(house: House) -> None:
    """SIGKILL for the program whose step it is."""
    house.kill_program()


def postgres(house: House) -> None:
    """SIGKILL for PostgreSQL."""
    house.kill_postgres()


def cut(_house: House) -> None:
    """The connection ends, as a relay does by itself at a step that is struck; nothing dies."""


STRIKES: Mapping[str, Callable[[House], None]] = {"kill": kill, "postgres": postgres, "cut": cut}
